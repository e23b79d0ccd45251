// Package signer says what "signed by whom" means: who may sign which images ([Trust]), and what was
// found and verified of one ([Evidence]). It knows no registry and no signature format.
//
// A bundle has its trust in bundle.yaml:
//
//	trust:
//	  authorities:
//	    - name: release
//	      images: [ghcr.io/acme/**]
//	      identities:
//	        - issuer: https://token.actions.githubusercontent.com
//	          subjectRegExp: https://github\.com/acme/[^/]+/\.github/workflows/release\.yml@refs/tags/v.*
//	    - name: scanner
//	      images: ["**"]
//	      keys: [{pem: "-----BEGIN PUBLIC KEY-----…"}]
//	  requirements:
//	    - name: signed
//	      images: [ghcr.io/acme/**]
//	      anyOf: [release]
//	  scanners: [scanner]
//
// [Compile] refuses everything that would trust more people than somebody meant, and says where
// it stands and what to write instead:
//
//   - an identity without issuer or subject, an expression that everybody matches, or every
//     user of GitHub. Expressions match whole texts only;
//   - keys that are weak, private, or not in the bundle at all: URLs, files, references to
//     key managers;
//   - patterns of images that no canonical reference has, such as "nginx", and those that
//     leave the registry open, where anybody may call a repository as he likes;
//   - N of M authorities of which one signer would be two: equal keys, equal identities,
//     expressions that both match some signer;
//   - what would be written in vain: attestations that no requirement demands.
//
// What trust cannot say: that a key was not stolen, and that a host of repositories gives a name
// to its owner only. Signatures of the Notary Project (notation) are not supported.
package signer
