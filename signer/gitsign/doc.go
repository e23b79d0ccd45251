// Package gitsign verifies who has signed a Git commit, and that some files are those of it. It needs the raw objects
// and nothing else: no repository, no program, no network. So a bundle that was fetched once is verified again by
// everyone who loads it.
//
// # What is followed
//
// A [Proof] is a commit, an annotated tag if one vouches for it, and the tree objects from the commit to the bundle's
// folder and below. [Verify] follows it in one direction, each step by the hash of the bytes at hand:
//
//	signature -> bytes of the tag, or of the commit -> commit -> tree -> folder -> exactly these files
//
// SHA-1 names the objects of most repositories. Hashes are computed with collision detection (sha1cd), and an object that
// shows the marks of an attack (SHAttered, SHA-1 is a Shambles) is refused. Repositories of SHA-256 are verified alike.
// The signature itself is over the bytes of the object without the signature, by SHA-256 or better.
//
// # What is not said
//
// A signature binds neither repository nor branch nor tag name: that the right bundle was signed, and none that is
// older, is for its files to say. A signature of a commit says nothing of other commits of its history.
//
// # When a key counts
//
// A key must count twice: at the time that the signature names, and now. The first is the signer's own word; by it
// alone, whoever finds a key that has expired could date a commit back. The second alone would let a key vouch that was
// not in use when the commit was made. So an expired key vouches for nothing any more, neither for what it has signed
// in its time: extend it, or have the commit signed by a key that counts (a signed tag will do). What is "now" is the
// caller's to say ([Signers.Now]). A revoked key never counts, whatever the reason and the time of the revocation.
// A signature that is dated more than an hour ahead is refused: one of the two clocks is wrong.
//
// # What is refused by name
//
// X.509 signatures (gpgsm, Sigstore's gitsign), OpenPGP signatures over MD5, SHA-1 or RIPEMD-160, RSA keys below 2,048
// bits, DSA keys, SSH signatures for another namespace than "git", by SHA-1, and by a hardware key that nobody touched,
// objects with several signatures, and objects that two readers could read in two ways.
package gitsign
