package configuration

import admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

// Exempt are the conditions that leave out the [Exemptions], for others who judge the same requests: those of all requests,
// and further ones of what is about pods. That of BreakGlasses is not among them: only a policy about those would need it.
func Exempt() (all, pods []admissionregistrationv1.MatchCondition) {
	return []admissionregistrationv1.MatchCondition{apiServer.isNot(), finishesDeletion.isNot()},
		[]admissionregistrationv1.MatchCondition{nodeFinishesDeletion.isNot(), mirrorPod.isNot()}
}
