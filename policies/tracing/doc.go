// Package tracing follows a request, an event or a sync through the packages that deal with it, as OpenTelemetry spans.
//
// A [Source] begins traces, and decides once whether one is kept. Whatever is done below continues the span that its context carries: no
// package needs a tracer of its own, and where nothing is traced [Start] costs one look into the context. Nothing here exports anything: that
// is the program's.
//
// Attributes say what kind of thing was done, to which resource, and how it ended. They never hold the content of an object, a value of a
// secret, a header or a query of a URL. The program bounds and redacts them once more before they leave it.
package tracing
