// Package grpc reads the events of Falco 0.43 and older from its gRPC server, through Falco's own client-go.
//
// It is for clusters that cannot be upgraded yet: Falco has deprecated the server in 0.43 and removed it in 0.44
// (https://github.com/falcosecurity/falco/pull/3798), and client-go is archived with it. What Falco has sent and we have not read is lost when the
// connection ends, as Falco keeps nothing for its subscribers; what we have read is kept like any other event.
//
// An event is the same by this way and by http_output: values come as text here, and become what their fields are.
package grpc
