// Package stored is what an API server stores, for the audit: which kinds policies are about, their objects in pages, and
// what becomes of them.
//
// Objects are read as JSON and cut into pieces, one page at a time: nothing is kept, and nothing is decoded more than the
// audit needs. managedFields, and the copy of the object that kubectl leaves in an annotation, are dropped at once.
//
// What may not be listed, or cannot be, is an [audit.Gap] with its reason. Everything else is given all the same.
package stored
