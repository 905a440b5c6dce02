"""Splink 5 on DuckDB, or plain rules in DuckDB, on clear text: links to Parquet.

Argument: a JSON object
  settings  one of SETTINGS, or "rules"
  tables    one Parquet file to deduplicate, or two to link; a column unique_id
  out       Parquet to write: unique_id_l, unique_id_r, match_weight, match_probability
  one_to_one  keep pairs that are the best of both records
  keep      least match_probability written
  threads   cores
Prints {"version", "wall_s", "pairs"}; wall_s is from file to file and leaves
the import of Python's modules out.
"""

import json
import logging
import sys
import time
import warnings

import duckdb
import splink
import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
SEED = 1


def people(tuned):
    """Given and family name, date of birth, postcode and sex of UK people."""
    names = [
        cl.NameComparison("given_name"),
        cl.NameComparison("family_name"),
    ]
    if tuned:
        names = [cl.JaroWinklerAtThresholds("given_name", [0.92, 0.8]), cl.JaroWinklerAtThresholds("family_name", [0.92, 0.8])]
    return {
        "comparisons": [c.configure(term_frequency_adjustments=True) for c in names]
        + [
            cl.LevenshteinAtThresholds("date_of_birth", [1, 2]) if tuned else cl.DateOfBirthComparison("date_of_birth", input_is_string=True),
            cl.PostcodeComparison("postcode"),
            cl.ExactMatch("sex"),
        ],
        "blocking": [
            block_on("date_of_birth", "substr(given_name, 1, 1)"),
            block_on("given_name", "family_name", "substr(date_of_birth, 1, 4)"),
            block_on("given_name", "family_name", "substr(date_of_birth, 6, 5)"),
            block_on("postcode", "given_name"),
        ]
        if tuned
        else [
            block_on("date_of_birth"),
            block_on("given_name", "family_name"),
            block_on("postcode", "substr(family_name, 1, 2)"),
        ],
        "rules": [
            block_on("given_name", "family_name", "date_of_birth"),
            block_on("given_name", "postcode", "date_of_birth"),
        ],
        "recall": 0.9,
        "u_pairs": 1e6 if tuned else 1e7,
        "em_pairs": 1e6 if tuned else None,
        "em": [block_on("date_of_birth"), block_on("given_name", "family_name")],
    }


def febrl(address):
    comparisons = [
        cl.NameComparison("given_name").configure(term_frequency_adjustments=True),
        cl.NameComparison("surname").configure(term_frequency_adjustments=True),
        cl.DamerauLevenshteinAtThresholds("date_of_birth", [1, 2]),
        cl.DamerauLevenshteinAtThresholds("postcode", [1, 2]),
    ]
    # Few enough records to block on one field at a time.
    fields = ["date_of_birth", "given_name", "surname", "postcode"] + (["suburb", "address_1"] if address else [])
    blocking = [block_on(f) for f in fields] + [block_on("substr(given_name, 1, 2)", "substr(surname, 1, 2)")]
    if address:
        comparisons += [
            cl.JaroWinklerAtThresholds("suburb", [0.92, 0.8]).configure(term_frequency_adjustments=True),
            cl.JaroWinklerAtThresholds("address_1", [0.92, 0.8]).configure(term_frequency_adjustments=True),
        ]
    return {
        "comparisons": comparisons,
        "blocking": blocking,
        "rules": [block_on("given_name", "surname", "date_of_birth"), block_on("surname", "postcode", "date_of_birth"), block_on("given_name", "postcode", "date_of_birth")],
        "recall": 0.8,
        "u_pairs": 1e7,
        "em_pairs": None,
        "em": [block_on("date_of_birth"), block_on("given_name", "surname"), block_on("postcode")],
    }


def fake_1000():
    """The settings of Splink's own deduplication and accuracy tutorials."""
    return {
        "comparisons": [
            cl.ForenameSurnameComparison("first_name", "surname"),
            cl.DateOfBirthComparison("dob", input_is_string=True),
            cl.ExactMatch("city").configure(term_frequency_adjustments=True),
            cl.EmailComparison("email"),
        ],
        "blocking": [block_on("first_name", "city"), block_on("surname"), block_on("first_name"), block_on("dob"), block_on("email")],
        "rules": [
            "l.first_name = r.first_name and levenshtein(r.dob, l.dob) <= 1",
            "l.surname = r.surname and levenshtein(r.dob, l.dob) <= 1",
            "l.first_name = r.first_name and levenshtein(r.surname, l.surname) <= 2",
            "l.email = r.email",
        ],
        "recall": 0.7,
        "u_pairs": 1e6,
        "em_pairs": None,
        "em": [block_on("dob"), block_on("first_name", "surname"), block_on("email")],
    }


SETTINGS = {
    "people-documented": lambda: people(False),
    "people-tuned": lambda: people(True),
    "febrl": lambda: febrl(False),
    "febrl-address": lambda: febrl(True),
    "fake_1000": fake_1000,
}

# Plain rules for people, strictest first.
RULES = [
    ["given_name", "family_name", "date_of_birth", "postcode"],
    ["given_name", "family_name", "date_of_birth"],
    ["given_name", "date_of_birth", "postcode"],
    ["given_name", "family_name", "postcode"],
    ["family_name", "date_of_birth", "postcode", "sex"],
]


def write(connection, pairs, out, one_to_one):
    """Write a relation of pairs, those that are best of both records where wanted."""
    best = ""
    if one_to_one:
        best = """qualify row_number() over (partition by unique_id_l order by match_weight desc, unique_id_r) = 1
                  and row_number() over (partition by unique_id_r order by match_weight desc, unique_id_l) = 1"""
    connection.execute(
        f"copy (select unique_id_l, unique_id_r, match_weight, match_probability from {pairs} {best}) to '{out}' (format parquet)"
    )


def rules(job, connection):
    """Rows are numbers until the end: windows over texts would take twice as long."""
    left, right = job["tables"]
    connection.execute(f"create table a as from '{left}'; create table b as from '{right}'")
    union = " union all ".join(
        "select a.rowid as l, b.rowid as r, {}::tinyint as strength from a join b using ({})".format(len(RULES) - i, ", ".join(rule))
        for i, rule in enumerate(RULES)
    )
    connection.execute(
        f"""copy (select a.unique_id as unique_id_l, b.unique_id as unique_id_r, strength::double as match_weight, 1::double as match_probability
            from (select * from ({union})
                  qualify row_number() over (partition by l order by strength desc, r) = 1 and row_number() over (partition by r order by strength desc, l) = 1) best
            join a on a.rowid = best.l join b on b.rowid = best.r) to '{job["out"]}' (format parquet)"""
    )


def link(job, connection):
    s = SETTINGS[job["settings"]]()
    api = DuckDBAPI(connection)
    frames = []
    for i, path in enumerate(job["tables"]):
        connection.execute(f"create table side{i} as from '{path}'")
        frames.append(api.register(f"side{i}"))
    linker = Linker(
        frames,
        SettingsCreator(
            link_type="link_only" if len(frames) == 2 else "dedupe_only",
            comparisons=s["comparisons"],
            blocking_rules_to_generate_predictions=s["blocking"],
            retain_matching_columns=False,
        ),
        log_level=None,
    )
    t = linker.training
    t.estimate_probability_two_random_records_match(s["rules"], recall=s["recall"])
    t.estimate_u_using_random_sampling(max_pairs=s["u_pairs"], seed=SEED)
    for rule in s["em"]:
        if s["em_pairs"]:
            t.estimate_parameters_using_expectation_maximisation(rule, max_pairs=s["em_pairs"])
        else:
            t.estimate_parameters_using_expectation_maximisation(rule, record_sample_proportion=1.0)
    predicted = linker.inference.predict(threshold_match_probability=job["keep"])
    write(connection, predicted.physical_name, job["out"], job["one_to_one"])


def main():
    job = json.loads(sys.argv[1])
    begin = time.perf_counter()
    connection = duckdb.connect()
    connection.execute(f"set threads = {int(job['threads'])}")
    if job["settings"] == "rules":
        rules(job, connection)
    else:
        link(job, connection)
    wall = time.perf_counter() - begin
    pairs = connection.execute(f"select count(*) from '{job['out']}'").fetchone()[0]
    version = duckdb.__version__ if job["settings"] == "rules" else splink.__version__ + " on DuckDB " + duckdb.__version__
    print(json.dumps({"version": version, "wall_s": wall, "pairs": pairs}))


if __name__ == "__main__":
    main()
