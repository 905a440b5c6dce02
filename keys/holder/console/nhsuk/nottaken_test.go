package nhsuk_test

// notTaken are the fixtures that our components do not take, with the option that is why:
// one that is deprecated, is for a logo or a search in the header, translates what the
// script says, or has no use here.
var notTaken = map[string]map[string]string{
	"breadcrumb": {
		"attributes": "items[].classes",
	},
	"button": {
		"with double click not prevented": "preventDoubleClick=false",
	},
	"character-count": {
		"with error only":   "errorMessage=true",
		"with translations": "charactersAtLimitText",
	},
	"checkboxes": {
		"disabled with enabled input":              "items[].disabled=false",
		"disabled with enabled input #2":           "items[].disabled=false",
		`with "none" option (named group)`:         "items[].exclusiveGroup",
		`with "none" option (named group, unique)`: "items[].exclusiveGroup",
		`with "none" option, deprecated`:           "items[].exclusive",
		"with error only":                          "errorMessage=true",
	},
	"error-message": {
		"without visually hidden text": "visuallyHiddenText=",
	},
	"file-upload": {
		"button":            "chooseFilesButtonClassList",
		"button #2":         "chooseFilesButtonClassList",
		"button #3":         "chooseFilesButtonClassList",
		"with error only":   "errorMessage=true",
		"with multiple":     "chooseFilesButtonText",
		"with translations": "chooseFilesButtonText",
	},
	"header": {
		"default":                                                                "search",
		"white linked logo, custom":                                              "logo.alt",
		"with navigation (overflow)":                                             "search",
		"with navigation (overflow) #2":                                          "search",
		"with navigation (overflow, white)":                                      "search",
		"with navigation (overflow, white) #2":                                   "search",
		"with organisation name (split with descriptor), search":                 "search",
		"with organisation name (split with descriptor), search #2":              "search",
		"with search":                                                            "search",
		"with search #2":                                                         "search",
		"with search inline":                                                     "search",
		"with search inline #2":                                                  "search",
		"with service name (linked and long), search":                            "search",
		"with service name (linked and long), search #2":                         "search",
		"with service name, search, account (logged in, complex), navigation":    "search",
		"with service name, search, account (logged in, complex), navigation #2": "search",
		"with service name, search, account, navigation":                         "search",
		"with service name, search, account, navigation #2":                      "search",
	},
	"input": {
		"with error only": "errorMessage=true",
	},
	"label": {
		"with deprecated page heading overriding heading": "isPageHeading=false",
	},
	"legend": {
		"with deprecated page heading overriding heading": "isPageHeading=false",
	},
	"pagination": {
		"with deprecated options": "nextPage",
	},
	"radios": {
		"disabled with enabled input":    "items[].disabled=false",
		"disabled with enabled input #2": "items[].disabled=false",
		"with error only":                "errorMessage=true",
	},
	"select": {
		"with error only": "errorMessage=true",
	},
	"tables": {
		"as a card (feature) with deprecated options": "heading",
	},
	"tag": {
		"without colour": "colour=false",
	},
	"textarea": {
		"with error only": "errorMessage=true",
	},
}
