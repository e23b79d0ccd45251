package main

import (
	"github.com/portcullis-dev/portcullis/secrets"
)

// secretReason is a reason of a condition, for people. docs/secrets.md has the same table; a test holds it to this one.
type secretReason struct{ meaning, next string }

// secretReasons are all reasons.
var secretReasons = map[secrets.Reason]secretReason{
	secrets.Sealed:       {"Vault is sealed: it answers nobody", "Unseal it; all that waits is synced at once then."},
	secrets.Unreachable:  {"no connection to Vault can be made", "See that the address of the VaultConnection is right, that Vault runs, and that network policies let portcullis-secrets reach it."},
	secrets.Slow:         {"Vault does not answer in time", "Look at Vault's load and audit devices; raise spec.timeout of the VaultConnection only if it is always like that."},
	secrets.Truncated:    {"an answer of Vault ended in the middle", "Look for a proxy or load balancer in between that cuts answers; it is tried again by itself."},
	secrets.Malformed:    {"what answers is not Vault", "See that the address of the VaultConnection is that of Vault, and not of a proxy with a page of its own."},
	secrets.Untrusted:    {"Vault's certificate is not trusted: it has expired, is for another name, or of another authority", "Renew the certificate of Vault, or put its authority into spec.caBundle of the VaultConnection (and its name into tlsServerName)."},
	secrets.Forbidden:    {"Vault knows who asks, and its policy does not allow it", "Have the policy of the role in Vault allow the path and capability that the message names."},
	secrets.LoginFailed:  {"Vault refuses the login", "Compare the role in Vault with the VaultAuth: bound service account names and namespaces, audience, mount; for AppRole and certificates the credentials in the Secret."},
	secrets.TokenRevoked: {"the token was revoked and a new one cannot be had", "Look in Vault's audit log who revoked it, and at the condition Ready of the VaultAuth."},
	secrets.NotFound:     {"there is nothing at this place in Vault", "Write the secret, or mend mount, path or version of the object; the last Secret is kept unless deletion.whenGone is Delete."},
	secrets.RateLimited:  {"Vault asks for fewer requests", "Raise its quota or lower requestsPerSecond of the VaultConnection; it is tried again when Vault asks to."},
	secrets.Behind:       {"a standby of Vault does not have the newest state yet", "Nothing: it is tried again. If it stays, look at the replication of Vault."},
	secrets.Failed:       {"Vault failed", "Look at the logs of Vault and at the message."},
	secrets.Refused:      {"Vault does not understand what is asked for", "Mend what the message names: a parameter, a name that the role does not allow, a ttl beyond what it may be."},

	secrets.Denied:           {"policies deny it, or none permits it", "Do what the policy says that objects, or ask those who keep the policies for a permit."},
	secrets.Undecided:        {"policies cannot be evaluated, which permits nothing", "See that a PolicyBundle is active (kubectl get policybundles) and that portcullis-secrets may read what its policies need; it is tried again by itself."},
	secrets.NamespaceBarred:  {"the VaultConnection does not list the namespace", "Have an administrator add the namespace to spec.allowedNamespaces of the VaultConnection."},
	secrets.Misconfigured:    {"the object makes no sense; nothing is tried until it changes", "Mend the field that the message names."},
	secrets.MissingReference: {"something that it names is not there: a VaultAuth, a VaultConnection, a Secret or a service account", "Create what the message names, in the same namespace, or mend the name."},
	secrets.KeyMissing:       {"the secret in Vault lacks a key that is asked for", "Write the key to Vault, or take it out of the object."},
	secrets.TemplateFailed:   {"a template does not evaluate, or not within its bounds", "Mend the template that the message names."},
	secrets.Unfit:            {"what Vault gave is nothing that the type of the Secret takes: a key of another certificate, JSON that is none", "Mend the secret in Vault, or name another destination.type."},
	secrets.NotOurs:          {"what is to be written exists and is somebody else's", "Choose another name or delete what is there; adopt: true (overwrite for a VaultPush) takes it over where policies let it."},
	secrets.ClusterForbidden: {"the API server refuses what portcullis-secrets needs: a Role is missing", "Have an administrator write the Role of the namespace anew: portcullis-secrets roles prints it."},
	secrets.ClusterFailed:    {"the API server could not do it", "Nothing, if it passes: it is tried again. Else look at the message and the API server."},
	secrets.LeaseLost:        {"a lease ended before it was renewed", "Nothing: new credentials are issued. Look why: an outage longer than the lease, a revocation, a maximum in Vault."},
}

// reasonOf finds what a reason of a condition means; false for one that is not a failure's.
func reasonOf(reason string) (secretReason, bool) {
	known, ok := secretReasons[secrets.Reason(reason)]
	return known, ok
}
