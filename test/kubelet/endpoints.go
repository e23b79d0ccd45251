package kubelet

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// manager is who is said to write EndpointSlices, so that Kubernetes' own controller leaves them alone.
const manager = "processes.portcullis.dev"

// publish writes where the pod is for each Service that chooses it, and takes that away where one chooses it no more. Kubernetes'
// own controller writes nothing for a pod without an address, and everything for one with.
func (p *pod) publish(ctx context.Context, ready bool) error {
	client := p.node.options.Client
	services, err := client.CoreV1().Services(p.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("looking for services: %w", err)
	}
	list, err := client.DiscoveryV1().EndpointSlices(p.namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelManagedBy + "=" + manager})
	if err != nil {
		return fmt.Errorf("looking for endpoints: %w", err)
	}
	written := map[string]*discoveryv1.EndpointSlice{}
	for n, slice := range list.Items {
		if strings.HasSuffix(slice.Name, p.suffix()) {
			written[slice.Name] = &list.Items[n]
		}
	}
	for n := range services.Items {
		service := &services.Items[n]
		if len(service.Spec.Selector) == 0 || !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(p.seen().Labels)) {
			continue
		}
		wanted := p.slice(service, ready)
		if err := p.write(ctx, wanted, written[wanted.Name]); err != nil {
			return fmt.Errorf("writing endpoints of %s: %w", service.Name, err)
		}
		delete(written, wanted.Name)
	}
	for name := range written {
		if err := client.DiscoveryV1().EndpointSlices(p.namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing endpoints: %w", err)
		}
	}
	return nil
}

// suffix tells the slices of this pod from those of others.
func (p *pod) suffix() string { return "-" + string(p.seen().UID)[:8] }

func (p *pod) write(ctx context.Context, wanted, existing *discoveryv1.EndpointSlice) error {
	slices := p.node.options.Client.DiscoveryV1().EndpointSlices(p.namespace)
	if existing == nil {
		_, err := slices.Create(ctx, wanted, metav1.CreateOptions{})
		return err
	}
	if apiequality.Semantic.DeepEqual(existing.Endpoints, wanted.Endpoints) && apiequality.Semantic.DeepEqual(existing.Ports, wanted.Ports) {
		return nil
	}
	existing.Endpoints, existing.Ports = wanted.Endpoints, wanted.Ports
	_, err := slices.Update(ctx, existing, metav1.UpdateOptions{})
	return err
}

// slice is what is written for a Service.
func (p *pod) slice(service *corev1.Service, ready bool) *discoveryv1.EndpointSlice {
	yes := true
	ending := !ready && p.seen().DeletionTimestamp != nil
	wanted := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: service.Name + p.suffix(), Namespace: p.namespace,
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
	return wanted
}
