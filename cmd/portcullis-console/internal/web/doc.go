// Package web is the pages of the console: HTML that is made here, one style sheet, one script for the live stream, and nothing from elsewhere. What
// comes from the cluster is text to html/template and to the script. It holds no state but counts of who asks how much.
package web
