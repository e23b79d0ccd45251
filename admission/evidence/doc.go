// Package evidence gathers what policies read of images: the digest a reference stands for, the image's own
// configuration, verified signatures and attestations, the scan, and whether a pod replaces one that was
// admitted before. It stands around another source of facts and works while that one does.
//
// Nothing is asked of a registry unless a policy that matches reads it. A tag is resolved once for each
// request; everything else is by that digest, which is also the one reported, verified and pinned
// (CVE-2022-47633). What was found out about a digest is remembered by (digest, repository, trust), never by
// tag: a tag that is pushed again is looked at again.
//
// How long something is remembered:
//
//   - Evidence that meets the bundle's requirements, and a scan: [Options.Age]. From [Options.RefreshAge] on
//     the next use has it verified anew in the background, so that a newer scan is seen, and a signature that
//     was taken away no longer counts; when the registry does not answer, what was known goes on counting
//     until Age. How old evidence may be is for policies to say, by the times that are signed.
//   - No signature, no scan: [Options.NegativeAge], seconds. It may be pushed at any moment.
//   - Failures: never.
//
// With [Options.Directory] the registry's answers that led to a positive verification are kept on disk, and
// not the verdict: after a restart the same signatures are verified again from there, against the trust of
// that time. Whoever can write to the directory can do no more than the registry can: withhold evidence, or show what was
// signed and has been withdrawn, and forge nothing.
//
// Verifications go on when the request that began them has run out of time, for at most
// [Options.FlightTimeout], so that the next try finds them done. Thirty pods of one new image are one
// verification.
package evidence
