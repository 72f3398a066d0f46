from pyspark.sql import SparkSession


def test_a_session_runs_sql(spark: SparkSession) -> None:
    assert spark.sql("SELECT 1 + 1 AS two").collect()[0].two == 2
