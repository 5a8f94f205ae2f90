package main

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// readyMark on a pod, as annotation or label, overrules its image: "false" is not ready.
	readyMark = "testplane/ready"
	slowStart = 2 * time.Second
)

// desired is the status of a pod of this age: an image with `bad` in its name crash-loops, one with
// `slow` is ready after two seconds, any other at once; a Job's pod has ended. It also says when to look again.
func desired(pod *corev1.Pod, age time.Duration) (*corev1.PodStatus, time.Duration) {
	status := &corev1.PodStatus{Phase: corev1.PodRunning}
	sum := sha256.Sum256([]byte(pod.UID))
	status.PodIP = fmt.Sprintf("10.%d.%d.%d", 64+sum[0]%128, sum[1], 1+sum[2]%254)
	status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	started := pod.CreationTimestamp
	status.StartTime = &started

	var again time.Duration
	ready := true
	for _, container := range pod.Spec.Containers {
		is := corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: true, Started: new(true),
			ImageID:     fmt.Sprintf("docker-pullable://%s@sha256:%x", container.Image, sha256.Sum256([]byte(container.Image))),
			ContainerID: fmt.Sprintf("containerd://%x", sha256.Sum256([]byte(string(pod.UID)+container.Name))),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}},
		}
		bad := strings.Contains(container.Image, "bad")
		switch {
		case ownedByJob(pod):
			code := int32(0)
			if bad {
				code = 1
				status.Phase = corev1.PodFailed
			} else if status.Phase != corev1.PodFailed {
				status.Phase = corev1.PodSucceeded
			}
			is.Ready, is.Started = false, new(false)
			is.State = ended(code, started)
		case bad:
			is.Ready, is.Started, is.RestartCount = false, new(false), 3
			is.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason:  "CrashLoopBackOff",
				Message: "back-off 40s restarting failed container=" + container.Name,
			}}
			is.LastTerminationState = ended(1, started)
		case strings.Contains(container.Image, "slow") && age < slowStart:
			is.Ready = false
			again = slowStart - age
		}
		if pod.Annotations[readyMark] == "false" || pod.Labels[readyMark] == "false" {
			is.Ready = false
		}
		ready = ready && is.Ready
		status.ContainerStatuses = append(status.ContainerStatuses, is)
	}
	status.Conditions = []corev1.PodCondition{
		condition(pod, corev1.PodScheduled, true),
		condition(pod, corev1.PodInitialized, true),
		condition(pod, corev1.ContainersReady, ready),
		condition(pod, corev1.PodReady, ready),
	}
	return status, again
}

func ended(code int32, at metav1.Time) corev1.ContainerState {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: at, FinishedAt: at,
	}}
}

// condition keeps the time of the last change, which minReadySeconds counts from.
func condition(pod *corev1.Pod, kind corev1.PodConditionType, holds bool) corev1.PodCondition {
	status, reason := corev1.ConditionTrue, ""
	if !holds {
		status, reason = corev1.ConditionFalse, "ContainersNotReady"
	}
	changed := metav1.Now()
	for _, old := range pod.Status.Conditions {
		if old.Type == kind && old.Status == status {
			changed = old.LastTransitionTime
		}
	}
	return corev1.PodCondition{Type: kind, Status: status, Reason: reason, LastTransitionTime: changed}
}

func same(have, want *corev1.PodStatus) bool {
	if have.Phase != want.Phase || have.PodIP != want.PodIP {
		return false
	}
	if !equality.Semantic.DeepEqual(have.ContainerStatuses, want.ContainerStatuses) {
		return false
	}
	for _, wanted := range want.Conditions {
		found := false
		for _, has := range have.Conditions {
			found = found || (has.Type == wanted.Type && has.Status == wanted.Status)
		}
		if !found {
			return false
		}
	}
	return true
}

func crashing(status *corev1.PodStatus) bool {
	for _, container := range status.ContainerStatuses {
		if container.State.Waiting != nil && container.State.Waiting.Reason == "CrashLoopBackOff" {
			return true
		}
	}
	return false
}

func ownedByJob(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "Job"
}
