// Package destination writes the Secrets (and, for public keys, ConfigMaps) of VaultSecrets, and notices when somebody else changes them.
//
// A first write is a create, so nothing that exists is ever taken over by accident. What exists already is ours if the status of the
// VaultSecret has its UID, if the VaultSecret is its controller, or, where it is to outlive the VaultSecret and so has no owner, if its
// annotation names the UID of the VaultSecret and our field manager wrote it: a crash between the write and the status is gone on from.
// Whoever can forge these can write the Secret, and wins nothing but that it is overwritten. Everything else is NotOurs, unless
// destination.adopt says to take it over; see [Writer.Write] for what even then is left alone.
//
// Later writes are server-side applies that carry the UID, which the API server refuses for an object that was made anew meanwhile.
// Server-side apply leaves fields of others: keys that somebody added are removed by a second request, under the resourceVersion of the first.
//
// Objects are read one by one and by name. Nothing is listed, and nothing is kept: whoever may list Secrets reads them all.
package destination
