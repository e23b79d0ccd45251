package kubelet

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// manager is who is said to write EndpointSlices, so that Kubernetes' own controller leaves them alone.
const manager = "processes.portcullis.dev"

// publish writes where the pod is for each Service that chooses it. Kubernetes' own controller writes nothing for a pod
// without an address, and everything for one with.
func (p *pod) publish(ctx context.Context, ready bool) error {
	services, err := p.node.options.Client.CoreV1().Services(p.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("looking for services: %w", err)
	}
	for _, service := range services.Items {
		if len(service.Spec.Selector) == 0 || !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(p.seen().Labels)) {
			continue
		}
		if err := p.slice(ctx, &service, ready); err != nil {
			return fmt.Errorf("writing endpoints of %s: %w", service.Name, err)
		}
	}
	return nil
}

func (p *pod) slice(ctx context.Context, service *corev1.Service, ready bool) error {
	yes := true
	ending := !ready && p.seen().DeletionTimestamp != nil
	wanted := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: service.Name + "-" + string(p.seen().UID)[:8], Namespace: p.namespace,
			Labels:          map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: manager},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: p.name, UID: p.seen().UID}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{p.node.address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &yes, Terminating: &ending},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.namespace, Name: p.name, UID: p.seen().UID},
		}},
	}
	for _, port := range service.Spec.Ports {
		name, number := port.TargetPort.StrVal, port.TargetPort.IntVal
		if port.TargetPort.Type == intstr.Int {
			name = ""
		}
		if here := int32(p.container.port(name, number)); here != 0 {
			wanted.Ports = append(wanted.Ports, discoveryv1.EndpointPort{Name: &port.Name, Port: &here, Protocol: &port.Protocol})
		}
	}
	slices := p.node.options.Client.DiscoveryV1().EndpointSlices(p.namespace)
	existing, err := slices.Get(ctx, wanted.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = slices.Create(ctx, wanted, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	existing.Endpoints, existing.Ports = wanted.Endpoints, wanted.Ports
	_, err = slices.Update(ctx, existing, metav1.UpdateOptions{})
	return err
}
