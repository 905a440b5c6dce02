package fhir

import (
	"strings"

	"tarn/keys/audit"
)

// The code systems of others.
const (
	dicomSystem     = "http://dicom.nema.org/resources/ontology/DCM"
	lifecycleSystem = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
	reasonSystem    = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	entitySystem    = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	roleSystem      = "http://terminology.hl7.org/CodeSystem/object-role"
	sourceSystem    = "http://terminology.hl7.org/CodeSystem/security-source-type"
	labelSystem     = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
	// OrganisationSystem is that of ODS codes.
	OrganisationSystem = "https://fhir.nhs.uk/Id/ods-organization-code"
)

// The systems of what only the log names.
const (
	KindSystem         = "urn:tarn:audit-kind"
	PurposeSystem      = "urn:tarn:purpose" // of purposes that are none of ActReason: those of leases and approvals
	RoleSystem         = "urn:tarn:role"
	IssuerSystem       = "urn:tarn:issuer:" // and the issuer, where that is no URI
	HolderSystem       = "urn:tarn:holder"
	EntrySystem        = "urn:tarn:log-entry" // the log's origin, a solidus, and the entry's index
	RequestSystem      = "urn:tarn:request"
	SubjectSystem      = "urn:tarn:subject-hash"
	TokenSystem        = "urn:tarn:token-hash"
	VerificationSystem = "urn:tarn:log-verification"
)

// Unverified is the code, of VerificationSystem, that resources of a log that nobody has
// verified are tagged with.
const Unverified = "unverified"

func dicom(code, display string) coding { return coding{dicomSystem, code, display} }

func lifecycle(code, display string) coding {
	return coding{lifecycleSystem, code, display + " Record Lifecycle Event"}
}

var (
	applicationActivity = dicom("110100", "Application Activity")
	auditLogUsed        = dicom("110101", "Audit Log Used")
	query               = dicom("110112", "Query")
	securityAlert       = dicom("110113", "Security Alert")
	applicationStart    = dicom("110120", "Application Start")
	emergencyOverride   = dicom("110127", "Emergency Override Started")
	securityConfigured  = dicom("110129", "Security Configuration")
	restrictedFunction  = dicom("110132", "Use of Restricted Function")
	recordingStopped    = dicom("110133", "Audit Recording Stopped")
	userChanged         = dicom("110137", "User Security Attributes Changed")

	reidentify   = lifecycle("reidentify", "Re-identify")
	pseudonymize = lifecycle("pseudonymize", "Pseudonymize")
	attest       = lifecycle("attest", "Attest")
	transform    = lifecycle("transform", "Transform/Translate")
	archive      = lifecycle("archive", "Archive")
	restore      = lifecycle("restore", "Restore")

	person       = coding{entitySystem, "1", "Person"}
	systemObject = coding{entitySystem, "2", "System Object"}
	patientRole  = coding{roleSystem, "1", "Patient"}
	securityRole = coding{roleSystem, "13", "Security Resource"}
	queryRole    = coding{roleSystem, "24", "Query"}
	applications = coding{sourceSystem, "4", "Application Server"}
	pseudonymous = coding{labelSystem, "PSEUDED", "pseudonymized"}
)

// The actions of FHIR: create, read, update, execute.
const (
	create  = "C"
	read    = "R"
	update  = "U"
	execute = "E"
)

// meaning is what a kind of entry is in FHIR: its type, what is said beside the kind in
// its subtype, and its action.
type meaning struct {
	is      coding
	also    coding // none where empty
	action  string
	careful bool // the subtype is emergencyOverride where the purpose is ETREAT
}

// other is what a kind is that this version does not know.
var other = meaning{is: applicationActivity, action: execute}

// meanings: every step of a re-identification has one type, so that one search finds all
// of them; what changes who may do what is what DICOM calls a security alert.
var meanings = map[audit.Kind]meaning{
	audit.KindEvaluate:         {is: pseudonymize, action: execute},
	audit.KindLease:            {is: pseudonymize, also: restrictedFunction, action: execute},
	audit.KindReidRequest:      {is: reidentify, also: query, action: execute, careful: true},
	audit.KindWorklist:         {is: reidentify, also: query, action: execute},
	audit.KindRelationship:     {is: reidentify, also: query, action: execute},
	audit.KindReidDecision:     {is: reidentify, action: execute},
	audit.KindApproval:         {is: reidentify, also: attest, action: create},
	audit.KindReidIntent:       {is: reidentify, action: execute, careful: true},
	audit.KindReidOutcome:      {is: reidentify, action: read, careful: true},
	audit.KindRedeliver:        {is: reidentify, action: read},
	audit.KindBreakGlassReview: {is: reidentify, also: attest, action: create},
	audit.KindWhoAsked:         {is: auditLogUsed, action: read},
	audit.KindGrant:            {is: securityAlert, also: securityConfigured, action: update},
	audit.KindProject:          {is: securityAlert, also: securityConfigured, action: update},
	audit.KindDomain:           {is: securityAlert, also: securityConfigured, action: update},
	audit.KindPolicy:           {is: securityAlert, also: securityConfigured, action: update},
	audit.KindKeyState:         {is: securityAlert, also: securityConfigured, action: update},
	audit.KindOperatorApproval: {is: securityAlert, also: attest, action: create},
	audit.KindClient:           {is: securityAlert, also: userChanged, action: update},
	audit.KindEnrol:            {is: securityAlert, also: userChanged, action: create},
	audit.KindRotate:           {is: transform, action: execute},
	audit.KindConvert:          {is: transform, action: execute},
	audit.KindUnseal:           {is: securityAlert, also: restrictedFunction, action: execute},
	audit.KindBackup:           {is: archive, action: read},
	audit.KindRestore:          {is: restore, action: update},
	audit.KindRefuse:           {is: securityAlert, also: restrictedFunction, action: execute},
	audit.KindAlarm:            {is: securityAlert, action: execute},
	audit.KindStart:            {is: applicationActivity, also: applicationStart, action: execute},
}

// codes returns an entry's type, subtypes and action.
func codes(leaf *audit.Leaf) (is coding, subtypes []coding, action string) {
	m, known := meanings[leaf.Kind]
	if !known {
		m = other
	}
	switch {
	case m.careful && leaf.Purpose == emergencyTreatment, leaf.Kind == audit.KindAlarm && leaf.Rule == audit.RuleBreakGlass:
		m.also = emergencyOverride
	case leaf.Kind == audit.KindAlarm && leaf.Rule == audit.RuleLogUnavailable:
		m.also = recordingStopped
	}
	if m.also.Code != "" {
		subtypes = append(subtypes, m.also)
	}
	return m.is, append(subtypes, coding{System: KindSystem, Code: string(leaf.Kind)}), m.action
}

// The outcomes of FHIR.
const (
	success        = "0"
	minorFailure   = "4" // it was refused, or did not work
	seriousFailure = "8" // somebody is to look at it
)

// outcome returns how an entry's event ended.
func outcome(leaf *audit.Leaf) string {
	switch {
	case leaf.Kind == audit.KindReidOutcome && leaf.Outcome == "unknown", leaf.Kind == audit.KindAlarm && leaf.Rule == audit.RuleLogUnavailable:
		return seriousFailure
	case leaf.Kind == audit.KindAlarm && leaf.Rule == audit.RuleBreakGlass, limitOnly(leaf):
		return success
	case leaf.Kind == audit.KindAlarm, leaf.Kind == audit.KindRefuse, leaf.Decision == audit.Deny, leaf.Outcome == "failed":
		return minorFailure
	}
	return success
}

// limitOnly reports whether an entry says that a limit has fired which refuses nobody.
func limitOnly(leaf *audit.Leaf) bool {
	return leaf.Kind == audit.KindAlarm && strings.HasPrefix(leaf.Rule, audit.RuleLimit+"/") && leaf.Outcome != "refuse"
}

const emergencyTreatment = "ETREAT"

// reasons are the purposes that are codes of ActReason.
var reasons = map[string]string{
	"TREAT":            "treatment",
	emergencyTreatment: "Emergency Treatment",
	"CAREMGT":          "care management",
	"HQUALIMP":         "healthcare quality improvement",
	"HRESCH":           "healthcare research",
	"PUBHLTH":          "public health",
	"PATSFTY":          "patient safety",
	"PATRQT":           "patient requested",
}
