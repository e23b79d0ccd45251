// Package controller keeps VaultSecrets and VaultPushes as their specs say: it reads Vault, asks policies, writes Secrets, renews leases,
// restarts workloads, and says in statuses what it did. One replica does so, whichever holds the Lease; what the next one needs to go on is in
// statuses and VaultLeases, so that nothing is issued or restarted because the process was.
//
// What policies deny is not read, not written and, where it has a lease, not renewed: the last good Secret stays, and its credentials end by
// themselves. What policies could not decide is not read or written either, but leases that they allowed before are renewed meanwhile.
//
// No value outlives the pass that read it.
package controller
