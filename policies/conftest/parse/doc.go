// Package parse reads configuration files into the documents that Conftest's policies expect: each format in the very
// shape that Conftest's own parser gives, since that is what policies are written against.
//
// Files are read within limits, and reading one depends on nothing but the file: references to the environment, which
// Conftest fills in from wherever it happens to run, are refused. So is what Conftest passes over: a key that is given
// twice in YAML, XML that ends in the middle, a YAML document behind a marker with a space after it.
//
// Shapes were read off Conftest 0.71.1, folder parser.
package parse
