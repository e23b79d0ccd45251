// Package webhook answers the AdmissionReview requests of a Kubernetes API
// server over HTTPS.
//
// A [Handler] turns the body of a request into an [admission.Request], asks its
// [Reviewer], and turns the verdict into a response. It holds no policy: what is
// denied, and why, is the reviewer's business. What the handler adds is that
// nothing gets past the reviewer by the way it was sent:
//
//   - a body that is too large, malformed, ambiguous (duplicate keys) or of another
//     version is refused;
//   - a caller that cannot show who it is gets no answer (see [Callers]);
//   - a reviewer that panics, hangs, or has no room left denies.
//
// None of these ever becomes an allow. Wherever the request's uid could be read
// they are denials inside an AdmissionReview, because the API server takes an HTTP
// error for a failed call, which a webhook with failurePolicy Ignore admits.
//
// [Server] puts the handler behind TLS, beside a second port with probes and
// metrics, and drains it when its context ends. Package certificate keeps the
// serving certificate, package configuration computes what the API server must be
// told.
package webhook
