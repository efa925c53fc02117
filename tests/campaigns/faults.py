"""The whole fault matrix that needs no Ray: `tests/campaigns/faults.py [PART...] [--list]`.

MATRIX names the automated cases of each row; PARTS are what is run, each in a process of its own, and by default all of
them: the cases themselves, then kills, flipped bits, hostile input, launching again and memory, as many as promised
(two hours of one core); the bucket is one of this machine. `make test` runs the cases and a share of the rest.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
CAMPAIGNS = TESTS / "campaigns"

MATRIX = {
    "kill -9 in mid-step, at every durable call, again during the resume, while a sweep is extended or repaired": [
        "test_launch_crash.py::test_killed_again_and_again_the_traces_are_those_of_an_undisturbed_sweep",
        "test_store_crash.py::test_kill_at_every_change_of_the_disk",
        "test_store_crash.py::test_kill_while_a_sweep_is_extended_or_repaired",
        "test_store_crash.py::test_twenty_kills_in_a_row_while_a_sweep_is_resumed",
        "test_extension.py::test_a_kill_during_the_extension_changes_nothing_in_the_end",
        "test_repeats.py::test_training_that_does_not_repeat_is_told_by_launch_log_and_status",
    ],
    "power cuts, kills and both in any order": [
        "test_store_power.py::test_any_sequence_of_kills_and_power_cuts",
        "test_store_crash.py::test_files_are_synced_before_they_count",
    ],
    "mistakes built into the store are caught": [
        "test_store_crash.py::test_a_mistake_is_caught",
        "test_store_power.py::test_a_store_that_syncs_too_little_is_found_out",
    ],
    "a second launch while the first lives; two at the same instant; a finished spec again; taking over": [
        "test_launch_local.py::test_a_second_launch_is_refused_while_the_first_lives",
        "test_store_launch.py::test_of_launches_at_the_same_instant_exactly_one_wins",
        "test_store_launch.py::test_lock_goes_with_its_holder_however_it_dies",
        "test_launch_local.py::test_launching_a_finished_sweep_again_writes_nothing_and_tells_the_phases",
        "test_store_launch.py::test_where_a_dead_launch_cannot_be_told_from_a_live_one_the_user_says",
    ],
    "no space, EIO on fsync, read-only, quota; in segment, checkpoint, header": [
        "test_disk_refuses.py::test_the_pack_is_paused_and_goes_on",
        "test_disk_refuses.py::test_a_real_disk_that_is_full_then_read_only_then_has_room",
        "test_store_commit.py::test_a_disk_that_refuses_leaves_the_last_commit_and_no_temporary",
    ],
    "segment or checkpoint cut, empty, flipped, deleted, of another pack, of a newer version": [
        "test_store_repair.py::test_whatever_was_damaged_is_as_it_was_after_a_repair_and_a_launch",
        "test_store_verify.py::test_one_flipped_bit_anywhere_is_found",
        "test_store_verify.py::test_deleted_and_shortened_files_are_found",
        "test_store_verify.py::test_files_of_another_pack_are_found",
        "test_store_repair.py::test_a_record_in_the_place_of_another_is_found_and_mended",
        "test_store_repair.py::test_amendments_and_tables_are_told_from_other_records",
        "test_store_verify.py::test_header_from_another_sweep_is_found",
        "test_store_commit.py::test_resume_passes_over_a_damaged_commit",
        "test_store_versions.py::test_another_version_is_named_by_every_verb",
    ],
    "plan, header or spec edited": [
        "test_store_verify.py::test_edited_plan_is_refused",
        "test_store_repair.py::test_a_plan_that_lacks_its_amendment_is_not_taken_for_whole",
        "test_store_verify.py::test_one_flipped_bit_anywhere_is_found",
        "test_launch_local.py::test_another_spec_is_refused_with_what_differs",
    ],
    "S3: errors, lost answers, silence, expired credentials, no bucket, kills at changes": [
        "test_objects.py::test_errors_of_the_server_are_tried_again_with_growing_pauses",
        "test_objects.py::test_a_success_whose_answer_was_lost_is_a_success",
        "test_objects.py::test_silence_is_not_waited_for_forever",
        "test_objects.py::test_a_missing_bucket_is_named",
        "test_bucket_sweeps.py::test_no_answer_and_errors_at_any_change_do_no_harm",
        "test_bucket_sweeps.py::test_kills_between_any_two_changes_lose_nothing",
        "test_bucket_sweeps.py::test_a_store_that_goes_away_stops_training_and_a_launch_goes_on_later",
        "test_store_crash.py::test_kill_at_changes_of_a_bucket",
        "test_store_crash.py::test_a_mistake_is_caught_in_a_bucket",
    ],
    "NaN or inf in one run, in all runs": [
        "test_faults.py::test_a_run_that_diverges_leaves_its_neighbours_alone",
        "test_faults.py::test_a_sweep_in_which_every_run_diverges_is_a_result",
    ],
    "out of memory": [
        "test_out_of_memory.py::test_the_pack_goes_on_with_half_its_lanes",
        "test_out_of_memory.py::test_a_pack_is_halved_once",
        "test_observability.py::test_a_pack_whose_process_the_kernel_killed_for_memory_gets_half_the_lanes",
    ],
    "SIGINT once and twice, SIGTERM, SIGHUP, broken pipe": [
        "test_signals.py::test_a_signal_drains_to_a_commit_and_launching_again_goes_on",
        "test_signals.py::test_a_second_signal_stops_within_a_segment",
        "test_signals.py::test_a_third_signal_and_more_change_nothing",
        "test_signals.py::test_a_reader_that_goes_away_does_not_stop_the_sweep",
        "test_cli_exits.py::test_broken_pipe_is_silent",
    ],
    "clocks step by years": ["test_faults.py::test_clocks_that_step_by_years_decide_nothing"],
    "the spec changed between launch and resume": [
        "test_launch_local.py::test_comments_order_and_layout_of_a_spec_are_no_change",
        "test_extension.py::test_added_runs_are_trained_and_old_ones_left_alone",
        "test_extension.py::test_everything_else_is_refused_with_the_difference",
        "test_launch_local.py::test_a_longer_budget_is_refused_with_the_remedy",
    ],
    "folder moved, read through a link, hostile names": [
        "test_faults.py::test_a_folder_may_move_and_have_any_name",
        "test_faults.py::test_a_path_that_is_no_text_is_refused_before_anything_is_trained",
        "test_faults.py::test_verbs_take_a_folder_of_any_name",
    ],
    "no network": ["test_faults.py::test_a_launch_needs_no_network"],
    "a process that was stopped wakes up": [
        "test_faults.py::test_a_process_that_is_stopped_and_goes_on_late_publishes_nothing",
        "test_store_launch.py::test_a_launch_that_was_taken_over_publishes_nothing_when_it_wakes_up",
    ],
    "a poison pack": ["test_launch_local.py::test_a_poison_pack_fails_alone_and_is_tried_again_by_the_next_launch"],
    "another device or other versions": [
        "test_environment.py::test_going_on_in_another_environment_is_refused",
        "test_environment.py::test_consent_is_kept_in_the_headers_and_told_by_status",
    ],
}
"""What happens to a sweep, and the tests that make it happen."""

PARTS = {
    "cases": [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *dict.fromkeys(it for row in MATRIX.values() for it in row),
    ],
    "calls": [CAMPAIGNS / "crash.py", "--only", "calls"],
    "kills": [CAMPAIGNS / "crash.py", "--only", "kills"],
    "extensions": [CAMPAIGNS / "crash.py", "--only", "extensions"],
    "flips": [CAMPAIGNS / "crash.py", "--only", "flips"],
    "bucket": [CAMPAIGNS / "bucket.py"],
    "fuzz": [CAMPAIGNS / "fuzz.py", "--cases", "50000"],
    "relaunch": [CAMPAIGNS / "relaunch.py"],
    "memory": [CAMPAIGNS / "memory.py", "--runs", "20000"],
    "away": [CAMPAIGNS / "memory.py", "--away", "20"],
}
"""What is given to Python, in the folder of the tests."""


def run_part(name: str) -> bool:
    """Whether nothing was violated. Output goes where ours goes."""
    print(f"== {name}", flush=True)
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS.parent), os.environ.get("PYTHONPATH")]))
    code = subprocess.run([sys.executable, *map(str, PARTS[name])], cwd=TESTS, env=environment).returncode
    print(f"== {name}: {'held' if code == 0 else f'VIOLATED ({code})'}, {time.monotonic() - began:.0f} s", flush=True)
    return code == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []], help=", ".join(PARTS))
    parser.add_argument("--list", action="store_true", help="print the matrix and run nothing")
    options = parser.parse_args()
    if options.list:
        for fault, cases in MATRIX.items():
            print("\n    ".join([fault, *cases]))
        return
    held = {name: run_part(name) for name in options.parts or PARTS}
    print(", ".join(f"{name} {'held' if good else 'VIOLATED'}" for name, good in held.items()))
    sys.exit(0 if all(held.values()) else 1)


if __name__ == "__main__":
    main()
