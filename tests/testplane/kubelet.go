package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// fakeKubelet gives pods that have no node the status a kubelet would: see desired in pods.go.
type fakeKubelet struct {
	client    kubernetes.Interface
	store     cache.Store
	queue     workqueue.TypedRateLimitingInterface[string]
	scheduler string

	mutex sync.Mutex
	seen  map[types.UID]time.Time
}

func kubelet(args []string) error {
	flags := flag.NewFlagSet("kubelet", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "file of the cluster")
	scheduler := flags.String("scheduler", "", "only pods with this spec.schedulerName (for a cluster that has nodes)")
	_ = flags.Parse(args)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", "").String()
		}))
	informer := factory.Core().V1().Pods().Informer()
	k := &fakeKubelet{
		client: client, store: informer.GetStore(), scheduler: *scheduler, seen: map[types.UID]time.Time{},
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 2*time.Second)),
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    k.enqueue,
		UpdateFunc: func(_, pod any) { k.enqueue(pod) },
		DeleteFunc: k.forget,
	}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("ended before the first list of pods")
	}
	for range 4 {
		go func() {
			for k.next(ctx) {
			}
		}()
	}
	<-ctx.Done()
	k.queue.ShutDown()
	return nil
}

func (k *fakeKubelet) enqueue(object any) {
	if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
		k.queue.Add(key)
	}
}

func (k *fakeKubelet) forget(object any) {
	if last, missed := object.(cache.DeletedFinalStateUnknown); missed {
		object = last.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		k.mutex.Lock()
		defer k.mutex.Unlock()
		delete(k.seen, pod.UID)
	}
}

func (k *fakeKubelet) next(ctx context.Context) bool {
	key, shutdown := k.queue.Get()
	if shutdown {
		return false
	}
	defer k.queue.Done(key)
	again, err := k.sync(ctx, key)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "kubelet:", key, err)
		k.queue.AddRateLimited(key)
	case again > 0:
		k.queue.AddAfter(key, again)
	default:
		k.queue.Forget(key)
	}
	return true
}

// sync writes the status one pod should have now, and says when to look again.
func (k *fakeKubelet) sync(ctx context.Context, key string) (time.Duration, error) {
	object, exists, err := k.store.GetByKey(key)
	if err != nil || !exists {
		return 0, err
	}
	pod := object.(*corev1.Pod)
	if pod.DeletionTimestamp != nil || (k.scheduler != "" && pod.Spec.SchedulerName != k.scheduler) {
		return 0, nil
	}
	status, again := desired(pod, time.Since(k.firstSeen(pod)))
	if same(&pod.Status, status) {
		return again, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return 0, err
	}
	_, err = k.client.CoreV1().Pods(pod.Namespace).
		Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	// A pod may go, or be replaced by one of the same name, between the watch and this write.
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return again, nil
	}
	if err == nil && crashing(status) && !crashing(&pod.Status) {
		k.recordCrash(ctx, pod)
	}
	return again, err
}

func (k *fakeKubelet) firstSeen(pod *corev1.Pod) time.Time {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if _, known := k.seen[pod.UID]; !known {
		k.seen[pod.UID] = time.Now()
	}
	return k.seen[pod.UID]
}

// recordCrash leaves the event a kubelet leaves. Nobody depends on it enough to fail for it.
func (k *fakeKubelet) recordCrash(ctx context.Context, pod *corev1.Pod) {
	now := metav1.Now()
	_, err := k.client.CoreV1().Events(pod.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: pod.Name + ".", Namespace: pod.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
		Reason: "BackOff", Message: "Back-off restarting failed container in pod " + pod.Name, Type: corev1.EventTypeWarning,
		Source: corev1.EventSource{Component: "kubelet"}, FirstTimestamp: now, LastTimestamp: now, Count: 3,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		fmt.Fprintln(os.Stderr, "kubelet: event:", err)
	}
}
