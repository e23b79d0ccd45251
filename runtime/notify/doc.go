// Package notify tells people what is done about pods at run time: by Events of Kubernetes, Alertmanager, webhooks that
// understand Slack's messages, and CloudEvents over HTTP.
//
// Whoever has something to tell makes a [Message] and gives it to a [Dispatcher], which never waits: each receiver has a
// bounded queue and a goroutine of its own. A receiver that is slow or gone costs its own copies and nothing else; what is
// lost is counted.
//
// A Message can only be made by [NewMessage], which replaces what looks like a credential: command lines hold passwords, and a chat is
// no place for them.
package notify
