// Package backup is the state of an installation as one archive: what custom resources say that nothing else could say again.
//
// An archive is a tar file, compressed with gzip, with these entries in this order:
//
//	version                         "portcullis-backup 1\n"
//	objects/RESOURCE.GROUP/NNNNNN.jsonl   pages of objects, one object in a line, as the API server gave them but for managedFields
//	manifest.json                   a [Manifest]: which kinds, at which resourceVersion, how many, and the SHA-256 of each page
//
// Nothing of it depends on when or where it is written but Manifest.Taken: the same state gives the same bytes. The digest of an archive
// is the SHA-256 of its manifest, which names all the rest. It shows that an archive is the one that was taken, to whoever has kept the
// digest; who may change an archive and the digest that is compared with decides what the cluster will admit.
//
// Pages of one kind are one state of the cluster: a list that is read in chunks is read at one resourceVersion (KEP-365). Kinds are read
// one after the other, those first that refer to others.
//
// No Secret is read or written.
package backup
