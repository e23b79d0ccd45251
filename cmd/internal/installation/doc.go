// Package installation is Portcullis as it stands in a cluster: its Deployments and pods by program, its own objects, and what its processes say of
// themselves by /metrics and /readyz, all read with the rights of whoever looks. It changes nothing, and reads no Secret.
//
// What was read once is remembered, failures too, so that several looks at an installation see the same and cost one request.
package installation
