package capacity

import (
	"bytes"
	"encoding/json"
)

// podSpec is what of a pod's specification is about resources.
type podSpec struct {
	Containers     []container `json:"containers"`
	InitContainers []container `json:"initContainers"`
	Overhead       amounts     `json:"overhead"`
	Resources      resources   `json:"resources"` // of the pod as a whole (KEP-2837)
}

type container struct {
	Name          string    `json:"name"`
	RestartPolicy string    `json:"restartPolicy"`
	Resources     resources `json:"resources"`
}

type resources struct {
	Requests amounts `json:"requests"`
	Limits   amounts `json:"limits"`
}

// amounts are quantities as manifests write them: strings, or numbers.
type amounts struct {
	CPU    quantityText `json:"cpu"`
	Memory quantityText `json:"memory"`
}

// quantityText is a quantity, "" for none.
type quantityText string

// UnmarshalJSON implements [json.Unmarshaler]. What is no quantity is taken for none: policies say what is wrong with it.
func (q *quantityText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*q = quantityText(text)
	} else if !bytes.ContainsAny(data, "[{") {
		*q = quantityText(data)
	}
	return nil
}

// asked is an amount, and which of it was given at all.
type asked struct {
	Amount
	cpu, memory bool
}

func (a amounts) read() asked {
	var out asked
	out.MilliCPU, out.cpu = milli(string(a.CPU))
	out.MemoryBytes, out.memory = whole(string(a.Memory))
	return out
}

// requests of a container: what it does not request and limits, it requests (defaults of core/v1).
func (r resources) requests() asked {
	requests, limits := r.Requests.read(), r.Limits.read()
	if !requests.cpu {
		requests.MilliCPU, requests.cpu = limits.MilliCPU, limits.cpu
	}
	if !requests.memory {
		requests.MemoryBytes, requests.memory = limits.MemoryBytes, limits.memory
	}
	return requests
}

// sidecar says that an init container runs as long as the pod does (KEP-753).
func (c *container) sidecar() bool { return c.RestartPolicy == "Always" }

// running are the containers that run as long as the pod does.
func (p *podSpec) running() []container {
	all := append([]container{}, p.Containers...)
	for _, c := range p.InitContainers {
		if c.sidecar() {
			all = append(all, c)
		}
	}
	return all
}

// requested is what the scheduler counts for the pod: its containers and sidecars together, or what starting it takes
// where that is more, and what the runtime takes; or what is asked for the pod as a whole.
// https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
func (p *podSpec) requested() Amount {
	return p.total(resources.requests)
}

// limited is what it may use at most, 0 where some container may use any amount.
func (p *podSpec) limited() Amount {
	limits := p.total(func(r resources) asked { return r.Limits.read() })
	pod := p.Resources.Limits.read()
	for _, c := range p.running() {
		own := c.Resources.Limits.read()
		if !own.cpu && !pod.cpu {
			limits.MilliCPU = 0
		}
		if !own.memory && !pod.memory {
			limits.MemoryBytes = 0
		}
	}
	return limits
}

func (p *podSpec) total(of func(resources) asked) Amount {
	var running, sidecars, starting Amount
	for _, c := range p.Containers {
		running = running.plus(of(c.Resources).Amount)
	}
	for _, c := range p.InitContainers {
		if own := of(c.Resources).Amount; c.sidecar() {
			sidecars = sidecars.plus(own)
			starting = starting.atLeast(sidecars)
		} else {
			starting = starting.atLeast(sidecars.plus(own))
		}
	}
	total := running.plus(sidecars).atLeast(starting)
	if pod := of(p.Resources); pod.cpu || pod.memory {
		if pod.cpu {
			total.MilliCPU = pod.MilliCPU
		}
		if pod.memory {
			total.MemoryBytes = pod.MemoryBytes
		}
	}
	return total.plus(p.Overhead.read().Amount)
}
