// Package cluster judges by the bundles that a cluster has: PolicyBundle objects say which revision of each is active and
// which is on trial, PolicyRevision objects hold them, PolicyException objects waive findings.
//
// None of these is trusted for what it holds. A revision is taken by the digest of its files, and it is verified again here
// by whom the PolicyBundle trusts before it judges. What does not verify does not replace what judges already:
//
//   - While the revision that is to be active cannot be loaded, the last good one goes on, and the reason is in the
//     replica's PolicyReplica. This includes a revision that judges already and whose signer has been taken out of
//     spec.verification: to drop it would leave the bundle's policies unenforced.
//   - A revision on trial that cannot be loaded or does not verify any more is not tried; the active one judges.
//   - When a process starts and has no last good one, it is not ready until all bundles are loaded, but for those of
//     tenants: in their namespaces everything that reaches the webhook is denied then, with the reason.
//   - A bundle whose object is deleted judges no more, except for the last one: deleting it leaves what judged in place
//     until there is another.
//
// [Watch] follows these objects and installs a new [admission.Lineup] whenever one of them changes. [Load] reads them once.
package cluster
