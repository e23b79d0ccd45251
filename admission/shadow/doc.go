// Package shadow compares a revision on trial with the active one beside what is going on: a request that was answered
// is judged once more, by the side that was not asked, and where the two differ is counted.
//
// Nothing waits for it. Requests are taken over a bounded queue, and what finds no place there, or no quiet moment in
// time, is not compared but counted as shed. So a comparison says of how many requests it is, and of how many it is not.
package shadow
