package reidentify

import "slices"

// Purpose is a purpose of use, of HL7's code system ActReason (PurposeOfUse).
type Purpose string

// The purposes that may be asked for.
const (
	Treatment          Purpose = "TREAT"   // direct care of this patient
	EmergencyTreatment Purpose = "ETREAT"  // break-glass
	CareManagement     Purpose = "CAREMGT" // finding patients whom their own practice then cares for
	QualityImprovement Purpose = "HQUALIMP"
	Research           Purpose = "HRESCH"
	PublicHealth       Purpose = "PUBHLTH"
	PatientSafety      Purpose = "PATSFTY"
	Complaint          Purpose = "PATRQT" // the patient has asked
)

// Purposes returns every purpose.
func Purposes() []Purpose {
	return []Purpose{Treatment, EmergencyTreatment, CareManagement, QualityImprovement, Research, PublicHealth, PatientSafety, Complaint}
}

// Known reports whether it is one of Purposes.
func (p Purpose) Known() bool { return slices.Contains(Purposes(), p) }

// DirectCare reports whether it is the care of the patient who is asked for.
func (p Purpose) DirectCare() bool { return p == Treatment || p == EmergencyTreatment }
