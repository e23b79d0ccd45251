// Package content makes what a Secret holds of what Vault gave: keys that the type of the Secret asks for, and templates.
//
// Templates are written as Go's text/template are, and parsed by its parser, but evaluated here: by a walk over the tree that counts what
// it does, stops when its context ends, calls nothing but the functions of this package and, when it fails, says where and why without
// quoting what it was working on. text/template does none of that: it cannot be stopped from outside, and its errors quote values.
package content
