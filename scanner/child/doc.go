// Package child runs the part of the scanner that reads hostile images: a process of its own without key and
// network, under limits of memory, processor time, files and time, which may die without harm. The package has both
// ends of the pipe: [Pool] is the parent's, [Serve] the child's. It knows no scanner; the program hands Serve the
// function that analyses.
package child
