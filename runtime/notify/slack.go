package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Slack is a receiver that posts to an incoming webhook of Slack (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks),
// or of what understands the same: Mattermost, Rocket.Chat. It uses text and attachments, which all of them show.
type Slack struct {
	name, cluster string
	poster        *poster
}

// slackMessage is what is posted. Markup is off where that can be said: what it shows is in part what an attacker wrote.
type slackMessage struct {
	Text        string            `json:"text"`
	Markup      bool              `json:"mrkdwn"`
	UnfurlLinks bool              `json:"unfurl_links"`
	UnfurlMedia bool              `json:"unfurl_media"`
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Fallback string       `json:"fallback"`
	Colour   string       `json:"color"`
	Text     string       `json:"text,omitempty"`
	Fields   []slackField `json:"fields"`
	MarkupIn []string     `json:"mrkdwn_in"`
	Time     int64        `json:"ts"`
}

type slackField struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

// shortField is up to how many runes two fields stand beside each other.
const shortField = 40

// Name implements [Receiver].
func (s *Slack) Name() string { return s.name }

// Send implements [Receiver].
func (s *Slack) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(s.message(m))
	if err != nil {
		return fmt.Errorf("writing the message: %w: %w", err, ErrRefused)
	}
	return s.poster.post(ctx, "", http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body)
}

func (s *Slack) message(m Message) slackMessage {
	d, title := m.details, m.Title()
	if s.cluster != "" {
		title = "[" + s.cluster + "] " + title
	}
	if m.Page() {
		title = "PAGE " + title
	}
	attachment := slackAttachment{Fallback: harmless(title), Colour: colour(m), Text: harmless(d.Reason), MarkupIn: []string{}, Time: d.Time.Unix(), Fields: []slackField{}}
	facts := m.facts()
	if d.Next != "" {
		facts = append(facts, fact{"next", d.Next})
	}
	for _, f := range facts {
		attachment.Fields = append(attachment.Fields, slackField{Title: f.name, Value: harmless(f.value), Short: utf8.RuneCountInString(f.value) <= shortField})
	}
	return slackMessage{Text: harmless(title), Attachments: []slackAttachment{attachment}}
}

func colour(m Message) string {
	switch {
	case m.details.Kind.good():
		return "good"
	case m.Page() || m.details.Severity.rank() <= High.rank():
		return "danger"
	}
	return "warning"
}

// harmless takes from a text what chats make something of. Slack's markup begins with one of three characters, which it says how to
// escape (https://docs.slack.dev/messaging/formatting-message-text#escaping). In Mattermost @all calls everybody, and Markdown links
// and pictures are fetched: a space that does not show (U+200B) breaks them, and addresses, apart.
func harmless(text string) string {
	return strings.NewReplacer(
		"&", "&amp;", "<", "&lt;", ">", "&gt;",
		"@", "@\u200b", "](", "]\u200b(", "://", ":\u200b//", "www.", "www\u200b.", "`", "\u02cb",
	).Replace(text)
}

// Close ends idle connections.
func (s *Slack) Close() { s.poster.close() }
