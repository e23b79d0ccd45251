// Package session is who is logged in at the console. A session is in a cookie and nowhere else: the caller's token, sealed by a key that this
// process made when it started (AES-256-GCM), so that the console keeps no token, and a restart ends all sessions. It comes from a token that is
// pasted, from an OpenID Connect issuer, or, where the console acts with a kubeconfig on a workstation, from a link that works once.
package session
