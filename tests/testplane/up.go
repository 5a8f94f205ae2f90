package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// plane is one control plane: a folder with everything it wrote, and its processes in the order
// in which they were started.
type plane struct {
	dir       string
	self      string
	processes []*process
	failed    chan error
}

type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

// up starts etcd, the API server, the controller manager and the fake kubelet, writes `plane.json`
// when all of it answers, and ends all of it on SIGTERM, SIGINT or when its parent goes.
func up(args []string, parent int) error {
	flags := flag.NewFlagSet("up", flag.ExitOnError)
	dir := flags.String("dir", "", "folder for data, logs and kubeconfigs (default: a new temporary one)")
	remove := flags.Bool("remove", false, "remove the folder at the end")
	limit := flags.Duration("limit", 2*time.Minute, "give up when it is not ready by then")
	withKubelet := flags.Bool("kubelet", true, "start the fake kubelet")
	_ = flags.Parse(args)

	if *dir == "" {
		made, err := os.MkdirTemp("", "testplane-")
		if err != nil {
			return err
		}
		*dir = made
	}
	root, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	if *remove {
		defer os.RemoveAll(root)
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	var gone <-chan struct{}
	if parent != 0 {
		gone = orphaned(parent)
	}
	// An interruption while it starts must not leave half a plane behind.
	ended := make(chan struct{})
	go func() {
		select {
		case <-stop:
		case <-gone:
		}
		cancel()
		close(ended)
	}()

	// A free port may be taken between asking for it and using it: another try gets others.
	var p *plane
	for try := 1; ; try++ {
		p, err = start(ctx, filepath.Join(root, fmt.Sprintf("try%d", try)), root, *withKubelet)
		if err == nil {
			break
		}
		if ctx.Err() != nil || try == 3 {
			return err
		}
		fmt.Fprintln(os.Stderr, "testplane: starting again:", err)
	}
	defer p.stop()
	fmt.Println("ready", root)
	select {
	case <-ended:
		return nil
	case err := <-p.failed:
		return err
	}
}

func start(ctx context.Context, dir, root string, withKubelet bool) (p *plane, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p = &plane{dir: dir, self: self, failed: make(chan error, 8)}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	users, err := writeUsers(dir)
	if err != nil {
		return nil, err
	}
	if err := writeServerFiles(dir); err != nil {
		return nil, err
	}
	etcdClient := fmt.Sprintf("127.0.0.1:%d", ports[0])
	server := fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	audit := filepath.Join(dir, "audit.log")
	certs := filepath.Join(dir, "certs")

	if err := p.run("etcd", "etcd", "--data-dir", filepath.Join(dir, "etcd"),
		"--client", etcdClient, "--peer", fmt.Sprintf("127.0.0.1:%d", ports[1])); err != nil {
		return nil, err
	}
	if err := p.run("apiserver", "apiserver",
		"--etcd-servers=http://"+etcdClient,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", ports[2]),
		"--cert-dir="+certs,
		"--service-cluster-ip-range=10.0.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+filepath.Join(dir, "sa.pub"),
		"--service-account-signing-key-file="+filepath.Join(dir, "sa.key"),
		"--disable-admission-plugins=ServiceAccount",
		"--authorization-mode=RBAC",
		"--token-auth-file="+filepath.Join(dir, "tokens.csv"),
		"--endpoint-reconciler-type=none",
		"--allow-privileged=true",
		"--profiling=false",
		"--audit-policy-file="+filepath.Join(dir, "audit-policy.yaml"),
		"--audit-log-path="+audit,
	); err != nil {
		return nil, err
	}
	if err := p.waitReady(ctx, server, users["admin"].token); err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(certs, "apiserver.crt"))
	if err != nil {
		return nil, err
	}
	for name, user := range users {
		if err := writeKubeconfig(filepath.Join(dir, name+".kubeconfig"), server, ca, user); err != nil {
			return nil, err
		}
	}
	if err := p.run("kcm", "kcm",
		"--kubeconfig="+filepath.Join(dir, "kcm.kubeconfig"),
		"--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=false",
		"--kube-api-qps=200", "--kube-api-burst=400",
		"--controllers=deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,"+
			"job-controller,cronjob-controller,endpointslice-controller,disruption-controller,"+
			"garbage-collector-controller,namespace-controller,ttl-after-finished-controller",
	); err != nil {
		return nil, err
	}
	if withKubelet {
		if err := p.run("kubelet", "kubelet", "--kubeconfig", filepath.Join(dir, "kubelet.kubeconfig")); err != nil {
			return nil, err
		}
	}

	// The files people and tests ask for stand at the top, whichever try it was.
	for _, name := range []string{"admin", "backout"} {
		file := name + ".kubeconfig"
		if err := os.Rename(filepath.Join(dir, file), filepath.Join(root, file)); err != nil {
			return nil, err
		}
	}
	pids := map[string]int{}
	for _, process := range p.processes {
		pids[process.name] = process.cmd.Process.Pid
	}
	return p, writeJSON(filepath.Join(root, "plane.json"), map[string]any{
		"server": server, "audit_log": audit, "logs": dir, "kubelet": withKubelet, "pids": pids,
	})
}

// run starts one of our own subcommands; what it prints goes to NAME.log.
func (p *plane) run(name string, args ...string) error {
	log, err := os.Create(filepath.Join(p.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	args = append([]string{args[0], fmt.Sprintf("--parent-pid=%d", os.Getpid())}, args[1:]...)
	cmd := exec.Command(p.self, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// Nothing of the caller's: proxies and CA bundles would be obeyed on loopback too.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	process := &process{name: name, cmd: cmd, done: make(chan struct{})}
	p.processes = append(p.processes, process)
	go func() {
		err := cmd.Wait()
		close(process.done)
		p.failed <- fmt.Errorf("%s ended: %v; the end of its log:\n%s", name, err, tail(log.Name()))
	}()
	return nil
}

// stop ends all in an order in which none waits for one that is gone: an API server that is asked
// to end politely after its etcd has gone never does.
func (p *plane) stop() {
	for _, name := range []string{"kcm", "kubelet", "apiserver", "etcd"} {
		for _, process := range p.processes {
			if process.name == name {
				_ = process.cmd.Process.Kill()
				<-process.done
			}
		}
	}
	p.processes = nil
}

func (p *plane) waitReady(ctx context.Context, server, token string) error {
	client := &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	defer client.CloseIdleConnections()
	last := errors.New("no answer")
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/readyz", nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s: %s", response.Status, body)
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case err := <-p.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready: %w", last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// Held until all are drawn, so that no port comes twice.
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func randomToken() string {
	bytes := make([]byte, 16)
	_, _ = rand.Read(bytes)
	return hex.EncodeToString(bytes)
}

func writeJSON(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}
