// testplane is a real Kubernetes control plane for tests, without nodes: etcd, the API server, the
// controller manager and a fake kubelet, each one subcommand and one process of this program.
//
// `up` starts all four and is what the tests use. The upstream commands cannot share a process:
// signal handlers, feature gates and flags are process globals there.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

const usage = `usage: testplane COMMAND [--parent-pid PID] [flags]

  up         the whole control plane in one folder; see testplane up --help
  etcd       one etcd on loopback
  apiserver  kube-apiserver with its own flags
  kcm        kube-controller-manager with its own flags
  kubelet    the fake kubelet: gives pods without a node a status that follows their image

With --parent-pid the process ends as soon as its parent is no longer PID.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	command := os.Args[1]
	parent, args, err := cutParentPid(os.Args[2:])
	if err != nil {
		fatal(err)
	}
	os.Args = append([]string{os.Args[0]}, args...)
	if parent != 0 && command != "up" {
		go func() {
			<-orphaned(parent)
			os.Exit(1)
		}()
	}

	switch command {
	case "up":
		err = up(args, parent)
	case "etcd":
		err = etcd(args)
	case "apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kcm":
		os.Exit(cli.Run(kcm.NewControllerManagerCommand()))
	case "kubelet":
		err = kubelet(args)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fatal(fmt.Errorf("%s: %w", command, err))
	}
}

// cutParentPid takes our own flag out, since the upstream commands would refuse it.
func cutParentPid(args []string) (int, []string, error) {
	rest := make([]string, 0, len(args))
	value := ""
	for i := 0; i < len(args); i++ {
		if v, found := strings.CutPrefix(args[i], "--parent-pid="); found {
			value = v
		} else if args[i] == "--parent-pid" && i+1 < len(args) {
			i++
			value = args[i]
		} else {
			rest = append(rest, args[i])
		}
	}
	if value == "" {
		return 0, rest, nil
	}
	pid, err := strconv.Atoi(value)
	if err != nil {
		return 0, nil, fmt.Errorf("--parent-pid: expected a process id, found `%s`", value)
	}
	return pid, rest, nil
}

// orphaned is closed once this process has another parent. Polled: a death signal would follow the
// parent's thread, and test threads end long before their process does.
func orphaned(parent int) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		for os.Getppid() == parent {
			time.Sleep(200 * time.Millisecond)
		}
		close(gone)
	}()
	return gone
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "testplane:", err)
	os.Exit(1)
}
