// Package redaction takes credentials out of what is kept or told: objects of Kubernetes ([Redactor.Object]), and free text such as
// logs and command lines ([Redactor.Text]). It rather takes too much than too little.
//
// It knows the values of Secrets, tokens that are reviewed, variables that are called like credentials or look like ones, and in text what
// follows the name of one. What it cannot know is a password that is called nothing of the kind: do not take its result for public.
package redaction
