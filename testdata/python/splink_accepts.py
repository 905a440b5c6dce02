# Gives links.parquet and clusters.parquet of results, as they are, to Splink 5:
#
#   splink_accepts.py NONE MUTUAL
#
# NONE is a result of linker link with --one-to-one none, MUTUAL one of two
# parties with the default. Splink's clusters must be the linker's, and its
# charts must draw. What docs/linker.md says of Splink is what is done here.
import json
import math
import sys
import tempfile
from pathlib import Path

try:
    import splink
except ImportError:
    print("splink is not installed: nothing is compared")
    sys.exit(0)
import duckdb
from splink import DuckDBAPI, Linker
from splink.clustering import cluster_pairwise_predictions_at_threshold

assert splink.__version__.startswith("5."), splink.__version__


def partition(connection, table, column):
    rows = connection.sql(f"SELECT list(unique_id ORDER BY unique_id) FROM {table} GROUP BY {column}").fetchall()
    return {tuple(ids) for ids, in rows}


def tables(result):
    connection = duckdb.connect()
    links = connection.read_parquet(f"{result}/links.parquet")
    clusters = connection.read_parquet(f"{result}/clusters.parquet")
    links.create("links")
    clusters.create("clusters")
    return connection, links, clusters


def clustered(connection, edges, **threshold):
    found = cluster_pairwise_predictions_at_threshold(
        "clusters", edges, node_id_column_name="unique_id", db_api=DuckDBAPI(connection=connection), **threshold)
    return partition(connection, found.physical_name, "cluster_id")


def same_clusters(none, mutual):
    connection, links, _ = tables(none)
    used = json.loads(Path(none, "summary.json").read_text())["threshold"]
    compared = 0
    for column, threshold in [("cluster_id", used), ("cluster_id_p90", .9), ("cluster_id_p95", .95), ("cluster_id_p99", .99)]:
        ours = partition(connection, "clusters", column)
        theirs = clustered(connection, "links", threshold_match_probability=threshold)
        assert ours == theirs, f"{none}: clusters at {threshold} differ"
        assert any(len(ids) > 1 for ids in ours) and any(len(ids) == 1 for ids in ours), "the comparison is blind"
        compared += len(ours)
    # Control: at another threshold they are others.
    assert partition(connection, "clusters", "cluster_id") != clustered(connection, "links", threshold_match_probability=.99), "the comparison is blind"

    connection, links, _ = tables(mutual)
    connection.sql("CREATE TABLE decided AS SELECT * FROM links WHERE decision = 'link'")
    ours = partition(connection, "clusters", "cluster_id")
    assert ours == clustered(connection, "decided"), f"{mutual}: clusters of its links differ"
    print(f"{compared + len(ours)} clusters are those of Splink {splink.__version__}")


def settings(result):
    """Splink's settings of a fitted model: gamma_FIELD is Splink's own numbering
    of levels, and the conditions, which a linkage without names has none of, are
    never evaluated."""
    model = json.loads(Path(result, "model.json").read_text())
    comparisons = []
    for field in model["fields"]:
        levels = [{"sql_condition": "unique_id_l IS NULL", "label_for_charts": "missing", "is_null_level": True}]
        for level in reversed(range(len(field["m"]))):
            condition = "ELSE" if level == 0 else f"unique_id_l = unique_id_r AND {level} = {level}"
            levels.append({"sql_condition": condition, "label_for_charts": f"{field['name']}, level {level}",
                           "m_probability": field["m"][level], "u_probability": field["u"][level]})
        comparisons.append({"output_column_name": field["name"], "comparison_levels": levels})
    # What is not in a field: the odds before, from the run's patterns.
    prior = json.loads(Path(result, "run.json").read_text())["patterns"][0]["prior"]
    return {"link_type": "link_only", "comparisons": comparisons, "blocking_rules_to_generate_predictions": ["l.unique_id = r.unique_id"],
            "probability_two_random_records_match": 1 / (1 + 2 ** -prior),
            "retain_intermediate_calculation_columns": True, "retain_matching_columns": True}


def charts(result):
    connection, links, _ = tables(result)
    api = DuckDBAPI(connection=connection)
    sides = []
    for name, in connection.sql("SELECT DISTINCT source_dataset FROM clusters ORDER BY 1").fetchall():
        connection.sql(f"CREATE TABLE side_{name} AS SELECT unique_id, source_dataset FROM clusters WHERE source_dataset = '{name}'")
        sides.append(api.register(f"side_{name}", dataset_display_name=name))
    linker = Linker(sides, settings(result), validate_settings=False)
    predictions = linker.table_management.register_table_predict(api.register("links"))

    histogram = linker.visualisations.match_weights_histogram(predictions)
    bars = histogram.chart_dict["data"]["values"]
    assert sum(bar["count_rows"] for bar in bars) == len(links), "the histogram counts other pairs"

    records = predictions.as_record_list(limit=20)
    waterfall = linker.visualisations.waterfall_chart(records)
    same_weights(records, waterfall.raw_records, result)
    found = linker.clustering.cluster_pairwise_predictions_at_threshold(predictions, threshold_match_probability=.5)
    with tempfile.TemporaryDirectory() as folder:
        histogram.save(f"{folder}/histogram.html", inline=True)
        waterfall.save(f"{folder}/waterfall.html", inline=True)
        linker.visualisations.match_weights_chart().save(f"{folder}/weights.html", inline=True)
        linker.visualisations.m_u_parameters_chart().save(f"{folder}/probabilities.html", inline=True)
        linker.visualisations.comparison_viewer_dashboard(predictions, f"{folder}/viewer.html")
        linker.visualisations.cluster_studio_dashboard(predictions, found, f"{folder}/studio.html")
        sizes = [path.stat().st_size for path in Path(folder).iterdir()]
    assert len(sizes) == 6 and min(sizes) > 10_000, sizes
    print(f"histogram, waterfalls, weights, probabilities, comparison viewer and cluster studio of {len(links)} pairs are drawn")


def same_weights(records, bars, result):
    """The bars of a field in a waterfall are the column mw_FIELD, but where its
    weight depends on another field, which Splink does not know of."""
    model = json.loads(Path(result, "model.json").read_text())
    compared = 0
    for field in model["fields"]:
        if field["given"]:
            continue
        for bar in bars:
            if bar["column_name"] == field["name"]:
                ours = records[bar["record_number"]][f"mw_{field['name']}"]
                assert math.isclose(ours, bar["log2_bayes_factor"], abs_tol=1e-6), (field["name"], ours, bar["log2_bayes_factor"])
                compared += 1
    final = [bar["log2_bayes_factor"] for bar in bars if bar["column_name"] == "Final score"]
    assert final == [record["match_weight"] for record in records] and compared > 3 * len(records), "the comparison is blind"


if __name__ == "__main__":
    same_clusters(sys.argv[1], sys.argv[2])
    charts(sys.argv[1])
