// Package revision makes the files of a bundle ready to judge, and runs the tests that the bundle brings along.
//
// A revision has one judge for the bundle's own policies, and one more for each folder of policies that were written for
// another tool. They share nothing but the name of the bundle.
package revision
