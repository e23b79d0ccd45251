// Package certificate keeps the certificate an admission webhook serves with.
//
// There are two kinds. [SelfSigned] is a certificate authority of the webhook's own
// with one leaf, made in memory or in a directory and renewed while serving.
// [Files] is a pair of files that somebody else renews, such as cert-manager or the
// controller, read again when they change.
//
// Both give tls.Config a GetCertificate function, the API server a CA bundle, and
// readiness a reason when what they hold is not valid now.
package certificate
