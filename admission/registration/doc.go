// Package registration keeps what the API server must be told to ask the webhook: the two webhook configurations, and the
// certificates that stand behind them.
package registration
