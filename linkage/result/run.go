package result

// Run is run.json: how the job was done, and the counts behind the report's
// pictures. Counts are exact. It holds nothing that tells one record from
// another: agreement patterns that few pairs have are not in it.
//
// Lists are empty and pointers nil where the method has no such thing: a job of
// method clk has no patterns, weights or probabilities, one of method fs no
// similarities.
type Run struct {
	Schema       string           `json:"schema"`
	Software     string           `json:"software"`
	Created      string           `json:"created"`
	RunID        string           `json:"run_id"` // digest of inputs, parameters and state
	Parameters   Parameters       `json:"parameters"`
	Fields       []string         `json:"fields"` // of gamma_ and mw_, in column order
	Plan         Plan             `json:"plan"`
	Passes       []Pass           `json:"passes"`
	Blocks       []BlockBin       `json:"blocks"`
	Scores       []ScoreBin       `json:"scores"`
	Similarities []SimilarityBin  `json:"similarities"`
	Patterns     []Pattern        `json:"patterns"`
	Numbers      Numbers          `json:"numbers"`
	Parties      []Party          `json:"parties"`
	ClusterSizes []ClusterSizeBin `json:"cluster_sizes"`
	Completeness []FieldPresence  `json:"completeness"`
}

// Parameters are the settings that the result depends on.
type Parameters struct {
	Threshold    string  `json:"threshold"` // auto or a number
	MinPrecision float64 `json:"min_precision"`
	Keep         float64 `json:"keep"`
	Method       string  `json:"method"`
	OneToOne     string  `json:"one_to_one"`
	Blocking     string  `json:"blocking"`
	WithTokens   bool    `json:"with_tokens"`
}

// Plan is what --plan says before any work. What the work then took is in
// summary.json.
type Plan struct {
	Pairs       int64    `json:"pairs"`
	Seconds     *float64 `json:"seconds"`      // nil where not estimated
	MemoryBytes *int64   `json:"memory_bytes"` // nil where not estimated
	DiskBytes   *int64   `json:"disk_bytes"`   // nil where not estimated
	// Recall is the share of true pairs that blocking is expected to bring
	// together, in [0, 1]; nil where blocking makes no statement of it. All
	// pairs compared is 1.
	Recall *float64 `json:"recall"`
}

// Pass is one way in which pairs were brought together: a block column, all,
// lsh or token. A pair that several passes find is counted in the first.
type Pass struct {
	Name   string `json:"name"`
	Blocks int64  `json:"blocks"`
	Pairs  int64  `json:"pairs"`  // compared, not found by an earlier pass
	Tiled  int64  `json:"tiled"`  // blocks too large for one piece of work, done in tiles
	Widest int64  `json:"widest"` // pairs of the largest block
}

// BlockBin counts blocks by the number of pairs in them.
type BlockBin struct {
	PairsFrom int64 `json:"pairs_from"` // blocks of at least this many pairs and fewer than twice as many
	Blocks    int64 `json:"blocks"`
	Pairs     int64 `json:"pairs"`
}

// ScoreBin counts compared pairs by match weight, in bins of one unit.
type ScoreBin struct {
	MatchWeight int     `json:"match_weight"` // pairs with floor(weight) equal to this
	Pairs       int64   `json:"pairs"`
	Matches     float64 `json:"expected_matches"` // sum of match probabilities
}

// SimilarityBin counts pairs by Dice similarity, in bins of a hundredth.
type SimilarityBin struct {
	Similarity float64 `json:"similarity"` // lower bound; the last bin includes 1
	Pairs      int64   `json:"pairs"`
	Links      int64   `json:"links"` // of these, links of the solution
}

// Pattern is one pattern of agreement between two data sets (or, where both are
// the same, within one) and what the model makes of it. Its match weight is
// Prior + the sum of FieldWeights + Relatives, in units of log2 odds.
type Pattern struct {
	SourceDatasetL string `json:"source_dataset_l"`
	SourceDatasetR string `json:"source_dataset_r"`

	Levels       []int     `json:"levels"` // by Run.Fields; -1 is missing
	Pairs        int64     `json:"pairs"`  // compared pairs of the two data sets with this pattern
	Prior        float64   `json:"prior"`  // log2 odds before any field is seen
	FieldWeights []float64 `json:"field_weights"`
	// Relatives is what is taken off (at most 0) because people of one household
	// agree in the same way.
	Relatives   float64 `json:"relatives"`
	MatchWeight float64 `json:"match_weight"`
	Probability float64 `json:"match_probability"` // of the pair alone, before its records' other candidates compete
	// Twin is the probability that the pair are two people of one household,
	// such as twins; nil where the model has no class of them.
	Twin *float64 `json:"twin_probability"`
}

// Numbers counts pairs of records by what their NHS number tokens say.
type Numbers struct {
	Used        bool  `json:"used"`        // false where token schemes, domains or epochs differ
	Equal       int64 `json:"equal"`       // pairs with equal tokens
	Confirmed   int64 `json:"confirmed"`   // of these: linked, and demographics would link alone
	Unconfirmed int64 `json:"unconfirmed"` // of these: linked, demographics not comparable or undecided
	Conflicts   int64 `json:"conflicts"`   // of these: names disagree, set aside
	Different   int64 `json:"different"`   // compared pairs with two valid tokens that differ
	// DifferentLinked counts links whose valid tokens differ: one of the two
	// numbers is expected to be wrong.
	DifferentLinked int64 `json:"different_linked"`
}

// Party counts the records of one party.
type Party struct {
	SourceDataset string  `json:"source_dataset"`
	Rows          int64   `json:"rows"`
	Linked        int64   `json:"linked"`     // records in a link
	Unlinkable    int64   `json:"unlinkable"` // records with neither token nor anything to compare
	Tokens        *Tokens `json:"tokens"`     // nil where none are used, and where an earlier version did not say
}

// ClusterSizeBin counts clusters by their number of records.
type ClusterSizeBin struct {
	Records  int64 `json:"records"`
	Clusters int64 `json:"clusters"`
}

// FieldPresence counts records that have a field.
type FieldPresence struct {
	SourceDataset string `json:"source_dataset"`
	Field         string `json:"field"`
	Rows          int64  `json:"rows"`
	Present       int64  `json:"present"`
}
