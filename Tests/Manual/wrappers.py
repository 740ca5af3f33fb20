# SPDX-License-Identifier: Apache-2.0
"""What is put around the manual's fragments to make programs of them."""

#: Statements of C as a program; they leave a status.
BODY = """#include <ivg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) {
%s
return status < 0;
}
"""
#: The same with handles at hand. Whatever a fragment leaves is freed; an error that it leaves is printed.
SESSION_BODY = """ivg_model *model = NULL; ivg_session *session = NULL;
ivg_guidance *guidance = NULL; ivg_error *error = NULL;
ivg_step step = {.struct_size = sizeof step};
ivg_status status = ivg_model_open(&model, "model.gguf", NULL, &error);
if (status == IVG_OK) status = ivg_session_create(&session, model, NULL, &error);
if (status == IVG_OK) status = ivg_guidance_create(&guidance, NULL, &error);
if (status == IVG_OK) {
%s
}
(void)step;
if (status < 0 && error) fprintf(stderr, "%%s\\n", ivg_error_message(error));
ivg_error_free(error); ivg_guidance_free(guidance); ivg_session_free(session); ivg_model_free(model);"""
#: The same in C++ and in Rust.
CPP_BODY = """#include <ivg.hpp>
#include <iostream>
int main() {
%s
}
"""
RUST_BODY = """use ivg::*;
fn main() -> Result<(), Box<dyn std::error::Error>> {
%s
Ok(())
}
"""
#: Parses the options of a command and does nothing else.
PARSE = """import sys, typer.main
from ivg._cli import app
def quiet(command):
    for inner in getattr(command, "commands", {}).values():
        quiet(inner)
    command.callback = lambda **options: None
    return command
quiet(typer.main.get_command(app)).main(sys.argv[1:], prog_name="ivg")
"""
#: Reads data.jsonl as a trainer does.
READ_DATA = """import sys, ivg
kinds = {"sft": ivg.train.SFT, "dpo": ivg.train.DPO, "reward": ivg.train.RewardModel, "value": ivg.train.ValueModel}
with kinds[sys.argv[1]](ivg.Model("model.gguf"), "data.jsonl", strict=True) as trainer:
    print(trainer.info.example_count, "lines")
"""
