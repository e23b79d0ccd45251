package policies

// podUID is the key in a user's extra that says which pod a bound token is of (KEP-1205,
// k8s.io/apiserver/pkg/authentication/serviceaccount).
const podUID = "authentication.kubernetes.io/pod-uid"

// callerPod is the caller of a policy that is about requests of pods only.
const callerPod = "pod"

// wildcard stands for any group and any resource in the match of a policy that is about a caller.
const wildcard = "*"

// Pod is the UID of the pod whose token is asking, the first where somebody impersonates several, "" for anybody else.
func (s Subject) Pod() string {
	for _, uid := range s.Extra[podUID] {
		if uid != "" {
			return uid
		}
	}
	return ""
}

// anyResource says that a policy is about whatever its caller asks for.
func (m *Matching) anyResource() bool {
	return len(m.Resources) == 1 && m.Resources[0].Group == wildcard && len(m.Resources[0].Resources) == 1 && m.Resources[0].Resources[0] == wildcard
}

// wild says whether the wildcard is among the groups or resources, also where it does not stand for everything.
func (m *Matching) wild() bool {
	for _, group := range m.Resources {
		if group.Group == wildcard {
			return true
		}
		for _, resource := range group.Resources {
			if resource == wildcard {
				return true
			}
		}
	}
	return false
}
