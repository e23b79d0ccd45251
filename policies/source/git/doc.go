// Package git brings bundles from Git repositories, over https and ssh: the newest commit of a branch, the commit of a tag, a
// commit, or the newest of the branch that the server names first; and of that the files of one folder.
//
// No program is run and nothing is written to disk. Nothing of a repository is executed: there is no work tree, so no hook, no
// filter, no submodule, no configuration. The wire protocol and the format of packs are go-git's; connections, limits and what is
// kept are decided here. A fetch is shallow: one commit, its trees and files. What is received, what that unpacks to,
// and the time are bounded (see [Limits]), and all of it is in memory: what is beyond a limit is refused while it
// arrives.
//
// What a revision says of itself is proven by the raw objects in its [gitsign.Proof], which were hashed on the way, and are
// again by whoever verifies it. So a server can withhold a commit and offer an old one, and can offer no commit that nobody has
// signed. Against an old one there are the serial of the bundle and the pin of the PolicyBundle.
package git
