// SPDX-License-Identifier: Apache-2.0
// Generated from ivg.h by generate_bindings.py: do not edit.

use core::ffi::{c_char, c_void};
use core::marker::{PhantomData, PhantomPinned};
use core::{mem, ptr};

/// What libivg keeps to itself is not Send, Sync or Unpin.
type Opaque = PhantomData<(*mut u8, PhantomPinned)>;

pub const IVG_VERSION_MAJOR: u32 = 0;
pub const IVG_VERSION_MINOR: u32 = 1;
pub const IVG_VERSION_PATCH: u32 = 0;
pub const IVG_VERSION_NUMBER: u32 = 100;
pub const IVG_THRESHOLD_NEVER: f32 = -1.0;
pub const IVG_GREEDY: f32 = -1.0;
pub const IVG_TOP_K_OFF: u32 = 4294967295;

pub type ivg_status = i32;

pub const IVG_OK: ivg_status = 0;
pub const IVG_DONE: ivg_status = 1;
pub const IVG_ERROR_INVALID_ARGUMENT: ivg_status = -1;
pub const IVG_ERROR_OUT_OF_MEMORY: ivg_status = -2;
pub const IVG_ERROR_IO: ivg_status = -3;
pub const IVG_ERROR_CORRUPT_FILE: ivg_status = -4;
pub const IVG_ERROR_UNSUPPORTED: ivg_status = -5;
pub const IVG_ERROR_CANCELLED: ivg_status = -6;
pub const IVG_ERROR_CONTEXT_FULL: ivg_status = -7;
pub const IVG_ERROR_BUFFER_TOO_SMALL: ivg_status = -8;
pub const IVG_ERROR_MISMATCH: ivg_status = -9;
pub const IVG_ERROR_NOT_FOUND: ivg_status = -10;
pub const IVG_ERROR_CALLBACK: ivg_status = -11;
pub const IVG_ERROR_INTERNAL: ivg_status = -99;

#[repr(C)]
pub struct ivg_error {
    _data: [u8; 0],
    _marker: Opaque,
}

pub const IVG_LOG_NONE: i32 = 0;
pub const IVG_LOG_WARNING: i32 = 1;
pub const IVG_LOG_INFO: i32 = 2;

pub type ivg_log_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char)>;

#[repr(C)]
pub struct ivg_file {
    _data: [u8; 0],
    _marker: Opaque,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_tensor_info {
    pub struct_size: u32,
    pub dimension_count: u32,
    pub shape: [u64; 4],
    pub offset: u64,
    pub size: u64,
    pub name: *const c_char,
    pub r#type: *const c_char,
}

impl Default for ivg_tensor_info {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            dimension_count: 0,
            shape: [0; 4],
            offset: 0,
            size: 0,
            name: ptr::null(),
            r#type: ptr::null(),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_tensor_info, struct_size) == 0);
    assert!(mem::offset_of!(ivg_tensor_info, dimension_count) == 4);
    assert!(mem::offset_of!(ivg_tensor_info, shape) == 8);
    assert!(mem::offset_of!(ivg_tensor_info, offset) == 40);
    assert!(mem::offset_of!(ivg_tensor_info, size) == 48);
    assert!(mem::offset_of!(ivg_tensor_info, name) == 56);
    assert!(mem::offset_of!(ivg_tensor_info, r#type) == 64);
    assert!(mem::size_of::<ivg_tensor_info>() == 72);
};

#[repr(C)]
pub struct ivg_model {
    _data: [u8; 0],
    _marker: Opaque,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_model_options {
    pub struct_size: u32,
    pub reserved: u32,
}

impl Default for ivg_model_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            reserved: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_model_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_model_options, reserved) == 4);
    assert!(mem::size_of::<ivg_model_options>() == 8);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_model_info {
    pub struct_size: u32,
    pub vocabulary_size: u32,
    pub context_length: u32,
    pub embedding_length: u32,
    pub layer_count: u32,
    pub vocabulary_only: u32,
    pub begin_token: i32,
    pub end_token: i32,
    pub adds_begin_token: u32,
    pub reserved: u32,
    pub parameter_count: u64,
    pub file_size: u64,
    pub path: *const c_char,
    pub architecture: *const c_char,
    pub name: *const c_char,
    pub chat_template: *const c_char,
}

impl Default for ivg_model_info {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            vocabulary_size: 0,
            context_length: 0,
            embedding_length: 0,
            layer_count: 0,
            vocabulary_only: 0,
            begin_token: 0,
            end_token: 0,
            adds_begin_token: 0,
            reserved: 0,
            parameter_count: 0,
            file_size: 0,
            path: ptr::null(),
            architecture: ptr::null(),
            name: ptr::null(),
            chat_template: ptr::null(),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_model_info, struct_size) == 0);
    assert!(mem::offset_of!(ivg_model_info, vocabulary_size) == 4);
    assert!(mem::offset_of!(ivg_model_info, context_length) == 8);
    assert!(mem::offset_of!(ivg_model_info, embedding_length) == 12);
    assert!(mem::offset_of!(ivg_model_info, layer_count) == 16);
    assert!(mem::offset_of!(ivg_model_info, vocabulary_only) == 20);
    assert!(mem::offset_of!(ivg_model_info, begin_token) == 24);
    assert!(mem::offset_of!(ivg_model_info, end_token) == 28);
    assert!(mem::offset_of!(ivg_model_info, adds_begin_token) == 32);
    assert!(mem::offset_of!(ivg_model_info, reserved) == 36);
    assert!(mem::offset_of!(ivg_model_info, parameter_count) == 40);
    assert!(mem::offset_of!(ivg_model_info, file_size) == 48);
    assert!(mem::offset_of!(ivg_model_info, path) == 56);
    assert!(mem::offset_of!(ivg_model_info, architecture) == 64);
    assert!(mem::offset_of!(ivg_model_info, name) == 72);
    assert!(mem::offset_of!(ivg_model_info, chat_template) == 80);
    assert!(mem::size_of::<ivg_model_info>() == 88);
};

pub const IVG_TOKENIZE_SPECIAL: u32 = 1;
pub const IVG_TOKENIZE_BEGIN: u32 = 2;
pub const IVG_TOKENIZE_CONTINUES: u32 = 4;
pub const IVG_DETOKENIZE_SKIP_CONTROL: u32 = 1;
pub const IVG_DETOKENIZE_CONTINUES: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_chat_message {
    pub role: *const c_char,
    pub content: *const c_char,
    pub content_length: usize,
}

impl Default for ivg_chat_message {
    fn default() -> Self {
        Self {
            role: ptr::null(),
            content: ptr::null(),
            content_length: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_chat_message, role) == 0);
    assert!(mem::offset_of!(ivg_chat_message, content) == 8);
    assert!(mem::offset_of!(ivg_chat_message, content_length) == 16);
    assert!(mem::size_of::<ivg_chat_message>() == 24);
};

pub const IVG_CHAT_GENERATION_PROMPT: u32 = 1;

#[repr(C)]
pub struct ivg_adapter {
    _data: [u8; 0],
    _marker: Opaque,
}

#[repr(C)]
pub struct ivg_value_head {
    _data: [u8; 0],
    _marker: Opaque,
}

#[repr(C)]
pub struct ivg_guidance {
    _data: [u8; 0],
    _marker: Opaque,
}

pub const IVG_ROLE_TILT: u32 = 1;
pub const IVG_ROLE_SCORE: u32 = 2;
pub const IVG_FINISHED_POOL: u32 = 0;
pub const IVG_FINISHED_TILE: u32 = 1;
pub const IVG_CANDIDATES_TILTED: u32 = 0;
pub const IVG_CANDIDATES_BASE: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_guidance_options {
    pub struct_size: u32,
    pub width: u32,
    pub successors: u32,
    pub chunk: u32,
    pub finished_rows: u32,
    pub dedupe: u32,
    pub candidates: u32,
    pub reserved: u32,
}

impl Default for ivg_guidance_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            width: 0,
            successors: 0,
            chunk: 0,
            finished_rows: 0,
            dedupe: 0,
            candidates: 0,
            reserved: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_guidance_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_guidance_options, width) == 4);
    assert!(mem::offset_of!(ivg_guidance_options, successors) == 8);
    assert!(mem::offset_of!(ivg_guidance_options, chunk) == 12);
    assert!(mem::offset_of!(ivg_guidance_options, finished_rows) == 16);
    assert!(mem::offset_of!(ivg_guidance_options, dedupe) == 20);
    assert!(mem::offset_of!(ivg_guidance_options, candidates) == 24);
    assert!(mem::offset_of!(ivg_guidance_options, reserved) == 28);
    assert!(mem::size_of::<ivg_guidance_options>() == 32);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_implicit_options {
    pub struct_size: u32,
    pub role: u32,
    pub tuned_model: *const ivg_model,
    pub tuned_adapter: *const ivg_adapter,
    pub tuned_template: *const c_char,
    pub untuned_model: *const ivg_model,
    pub untuned_adapter: *const ivg_adapter,
    pub untuned_template: *const c_char,
    pub length_average: u32,
    pub reserved: u32,
}

impl Default for ivg_implicit_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            role: 0,
            tuned_model: ptr::null(),
            tuned_adapter: ptr::null(),
            tuned_template: ptr::null(),
            untuned_model: ptr::null(),
            untuned_adapter: ptr::null(),
            untuned_template: ptr::null(),
            length_average: 0,
            reserved: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_implicit_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_implicit_options, role) == 4);
    assert!(mem::offset_of!(ivg_implicit_options, tuned_model) == 8);
    assert!(mem::offset_of!(ivg_implicit_options, tuned_adapter) == 16);
    assert!(mem::offset_of!(ivg_implicit_options, tuned_template) == 24);
    assert!(mem::offset_of!(ivg_implicit_options, untuned_model) == 32);
    assert!(mem::offset_of!(ivg_implicit_options, untuned_adapter) == 40);
    assert!(mem::offset_of!(ivg_implicit_options, untuned_template) == 48);
    assert!(mem::offset_of!(ivg_implicit_options, length_average) == 56);
    assert!(mem::offset_of!(ivg_implicit_options, reserved) == 60);
    assert!(mem::size_of::<ivg_implicit_options>() == 64);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_explicit_options {
    pub struct_size: u32,
    pub role: u32,
    pub head: *const ivg_value_head,
    pub template_text: *const c_char,
}

impl Default for ivg_explicit_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            role: 0,
            head: ptr::null(),
            template_text: ptr::null(),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_explicit_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_explicit_options, role) == 4);
    assert!(mem::offset_of!(ivg_explicit_options, head) == 8);
    assert!(mem::offset_of!(ivg_explicit_options, template_text) == 16);
    assert!(mem::size_of::<ivg_explicit_options>() == 24);
};

pub type ivg_scorer_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, prompt: *const c_char, prompt_length: usize, texts: *const *const c_char, text_lengths: *const usize, finished: *const i32, count: usize, scores: *mut f64) -> i32>;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_scorer_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub score: ivg_scorer_fn,
    pub user_data: *mut c_void,
    pub finalizer: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

impl Default for ivg_scorer_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            reserved: 0,
            score: None,
            user_data: ptr::null_mut(),
            finalizer: None,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_scorer_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_scorer_options, reserved) == 4);
    assert!(mem::offset_of!(ivg_scorer_options, score) == 8);
    assert!(mem::offset_of!(ivg_scorer_options, user_data) == 16);
    assert!(mem::offset_of!(ivg_scorer_options, finalizer) == 24);
    assert!(mem::size_of::<ivg_scorer_options>() == 32);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_nudging_options {
    pub struct_size: u32,
    pub burst: u32,
    pub nudger_model: *const ivg_model,
    pub nudger_adapter: *const ivg_adapter,
    pub nudger_template: *const c_char,
    pub threshold: f32,
    pub max_rounds: u32,
}

impl Default for ivg_nudging_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            burst: 0,
            nudger_model: ptr::null(),
            nudger_adapter: ptr::null(),
            nudger_template: ptr::null(),
            threshold: 0.0,
            max_rounds: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_nudging_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_nudging_options, burst) == 4);
    assert!(mem::offset_of!(ivg_nudging_options, nudger_model) == 8);
    assert!(mem::offset_of!(ivg_nudging_options, nudger_adapter) == 16);
    assert!(mem::offset_of!(ivg_nudging_options, nudger_template) == 24);
    assert!(mem::offset_of!(ivg_nudging_options, threshold) == 32);
    assert!(mem::offset_of!(ivg_nudging_options, max_rounds) == 36);
    assert!(mem::size_of::<ivg_nudging_options>() == 40);
};

#[repr(C)]
pub struct ivg_session {
    _data: [u8; 0],
    _marker: Opaque,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_session_options {
    pub struct_size: u32,
    pub thread_count: u32,
    pub context_length: u32,
    pub timings: u32,
    pub memory_budget: u64,
}

impl Default for ivg_session_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            thread_count: 0,
            context_length: 0,
            timings: 0,
            memory_budget: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_session_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_session_options, thread_count) == 4);
    assert!(mem::offset_of!(ivg_session_options, context_length) == 8);
    assert!(mem::offset_of!(ivg_session_options, timings) == 12);
    assert!(mem::offset_of!(ivg_session_options, memory_budget) == 16);
    assert!(mem::size_of::<ivg_session_options>() == 24);
};

pub const IVG_GENERATE_IGNORE_END: u32 = 1;
pub const IVG_GENERATE_ATTRIBUTION: u32 = 2;

pub type ivg_logits_processor_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, row: u32, tokens: *const i32, token_count: usize, logits: *mut f32, vocabulary_size: usize) -> i32>;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_generate_options {
    pub struct_size: u32,
    pub max_tokens: u32,
    pub seed: u64,
    pub temperature: f32,
    pub top_p: f32,
    pub min_p: f32,
    pub repetition_penalty: f32,
    pub top_k: u32,
    pub flags: u32,
    pub top_log_probabilities: u32,
    pub reserved: u32,
    pub prompt_template: *const c_char,
    pub stop_strings: *const *const c_char,
    pub stop_string_count: usize,
    pub end_tokens: *const i32,
    pub end_token_count: usize,
    pub banned_tokens: *const i32,
    pub banned_token_count: usize,
    pub logits_processor: ivg_logits_processor_fn,
    pub logits_processor_data: *mut c_void,
}

impl Default for ivg_generate_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            max_tokens: 0,
            seed: 0,
            temperature: 0.0,
            top_p: 0.0,
            min_p: 0.0,
            repetition_penalty: 0.0,
            top_k: 0,
            flags: 0,
            top_log_probabilities: 0,
            reserved: 0,
            prompt_template: ptr::null(),
            stop_strings: ptr::null(),
            stop_string_count: 0,
            end_tokens: ptr::null(),
            end_token_count: 0,
            banned_tokens: ptr::null(),
            banned_token_count: 0,
            logits_processor: None,
            logits_processor_data: ptr::null_mut(),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_generate_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_generate_options, max_tokens) == 4);
    assert!(mem::offset_of!(ivg_generate_options, seed) == 8);
    assert!(mem::offset_of!(ivg_generate_options, temperature) == 16);
    assert!(mem::offset_of!(ivg_generate_options, top_p) == 20);
    assert!(mem::offset_of!(ivg_generate_options, min_p) == 24);
    assert!(mem::offset_of!(ivg_generate_options, repetition_penalty) == 28);
    assert!(mem::offset_of!(ivg_generate_options, top_k) == 32);
    assert!(mem::offset_of!(ivg_generate_options, flags) == 36);
    assert!(mem::offset_of!(ivg_generate_options, top_log_probabilities) == 40);
    assert!(mem::offset_of!(ivg_generate_options, reserved) == 44);
    assert!(mem::offset_of!(ivg_generate_options, prompt_template) == 48);
    assert!(mem::offset_of!(ivg_generate_options, stop_strings) == 56);
    assert!(mem::offset_of!(ivg_generate_options, stop_string_count) == 64);
    assert!(mem::offset_of!(ivg_generate_options, end_tokens) == 72);
    assert!(mem::offset_of!(ivg_generate_options, end_token_count) == 80);
    assert!(mem::offset_of!(ivg_generate_options, banned_tokens) == 88);
    assert!(mem::offset_of!(ivg_generate_options, banned_token_count) == 96);
    assert!(mem::offset_of!(ivg_generate_options, logits_processor) == 104);
    assert!(mem::offset_of!(ivg_generate_options, logits_processor_data) == 112);
    assert!(mem::size_of::<ivg_generate_options>() == 120);
};

pub const IVG_FINISH_NONE: u32 = 0;
pub const IVG_FINISH_END: u32 = 1;
pub const IVG_FINISH_STOP: u32 = 2;
pub const IVG_FINISH_LENGTH: u32 = 3;
pub const IVG_FINISH_REPEAT: u32 = 4;
pub const IVG_FINISH_ROUNDS: u32 = 5;

pub const IVG_STEP_TOKEN: u32 = 0;
pub const IVG_STEP_CHUNK: u32 = 1;
pub const IVG_STEP_NUDGE: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_step {
    pub struct_size: u32,
    pub kind: u32,
    pub token: i32,
    pub finish_reason: u32,
    pub log_probability: f32,
    pub top_count: u32,
    pub value: f64,
    pub text: *const c_char,
    pub text_length: usize,
    pub top_tokens: *const i32,
    pub top_log_probabilities: *const f32,
}

impl Default for ivg_step {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            kind: 0,
            token: 0,
            finish_reason: 0,
            log_probability: 0.0,
            top_count: 0,
            value: 0.0,
            text: ptr::null(),
            text_length: 0,
            top_tokens: ptr::null(),
            top_log_probabilities: ptr::null(),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_step, struct_size) == 0);
    assert!(mem::offset_of!(ivg_step, kind) == 4);
    assert!(mem::offset_of!(ivg_step, token) == 8);
    assert!(mem::offset_of!(ivg_step, finish_reason) == 12);
    assert!(mem::offset_of!(ivg_step, log_probability) == 16);
    assert!(mem::offset_of!(ivg_step, top_count) == 20);
    assert!(mem::offset_of!(ivg_step, value) == 24);
    assert!(mem::offset_of!(ivg_step, text) == 32);
    assert!(mem::offset_of!(ivg_step, text_length) == 40);
    assert!(mem::offset_of!(ivg_step, top_tokens) == 48);
    assert!(mem::offset_of!(ivg_step, top_log_probabilities) == 56);
    assert!(mem::size_of::<ivg_step>() == 64);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_result {
    pub struct_size: u32,
    pub candidate_count: u32,
    pub finish_reason: u32,
    pub guide_count: u32,
    pub prompt_token_count: u64,
    pub reused_token_count: u64,
    pub token_count: u64,
    pub prompt_seconds: f64,
    pub generate_seconds: f64,
    pub memory_used: u64,
}

impl Default for ivg_result {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            candidate_count: 0,
            finish_reason: 0,
            guide_count: 0,
            prompt_token_count: 0,
            reused_token_count: 0,
            token_count: 0,
            prompt_seconds: 0.0,
            generate_seconds: 0.0,
            memory_used: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_result, struct_size) == 0);
    assert!(mem::offset_of!(ivg_result, candidate_count) == 4);
    assert!(mem::offset_of!(ivg_result, finish_reason) == 8);
    assert!(mem::offset_of!(ivg_result, guide_count) == 12);
    assert!(mem::offset_of!(ivg_result, prompt_token_count) == 16);
    assert!(mem::offset_of!(ivg_result, reused_token_count) == 24);
    assert!(mem::offset_of!(ivg_result, token_count) == 32);
    assert!(mem::offset_of!(ivg_result, prompt_seconds) == 40);
    assert!(mem::offset_of!(ivg_result, generate_seconds) == 48);
    assert!(mem::offset_of!(ivg_result, memory_used) == 56);
    assert!(mem::size_of::<ivg_result>() == 64);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_candidate {
    pub struct_size: u32,
    pub finish_reason: u32,
    pub score: f64,
    pub log_probability: f64,
    pub text: *const c_char,
    pub text_length: usize,
    pub tokens: *const i32,
    pub token_count: usize,
    pub log_probabilities: *const f32,
    pub base_log_probabilities: *const f32,
    pub guide_values: *const f32,
}

impl Default for ivg_candidate {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            finish_reason: 0,
            score: 0.0,
            log_probability: 0.0,
            text: ptr::null(),
            text_length: 0,
            tokens: ptr::null(),
            token_count: 0,
            log_probabilities: ptr::null(),
            base_log_probabilities: ptr::null(),
            guide_values: ptr::null(),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_candidate, struct_size) == 0);
    assert!(mem::offset_of!(ivg_candidate, finish_reason) == 4);
    assert!(mem::offset_of!(ivg_candidate, score) == 8);
    assert!(mem::offset_of!(ivg_candidate, log_probability) == 16);
    assert!(mem::offset_of!(ivg_candidate, text) == 24);
    assert!(mem::offset_of!(ivg_candidate, text_length) == 32);
    assert!(mem::offset_of!(ivg_candidate, tokens) == 40);
    assert!(mem::offset_of!(ivg_candidate, token_count) == 48);
    assert!(mem::offset_of!(ivg_candidate, log_probabilities) == 56);
    assert!(mem::offset_of!(ivg_candidate, base_log_probabilities) == 64);
    assert!(mem::offset_of!(ivg_candidate, guide_values) == 72);
    assert!(mem::size_of::<ivg_candidate>() == 80);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_timings {
    pub struct_size: u32,
    pub reserved: u32,
    pub pass_count: u64,
    pub row_count: u64,
    pub embed_seconds: f64,
    pub normalize_seconds: f64,
    pub projection_seconds: f64,
    pub attention_seconds: f64,
    pub feed_forward_seconds: f64,
    pub output_seconds: f64,
    pub sample_seconds: f64,
    pub score_seconds: f64,
    pub other_seconds: f64,
}

impl Default for ivg_timings {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            reserved: 0,
            pass_count: 0,
            row_count: 0,
            embed_seconds: 0.0,
            normalize_seconds: 0.0,
            projection_seconds: 0.0,
            attention_seconds: 0.0,
            feed_forward_seconds: 0.0,
            output_seconds: 0.0,
            sample_seconds: 0.0,
            score_seconds: 0.0,
            other_seconds: 0.0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_timings, struct_size) == 0);
    assert!(mem::offset_of!(ivg_timings, reserved) == 4);
    assert!(mem::offset_of!(ivg_timings, pass_count) == 8);
    assert!(mem::offset_of!(ivg_timings, row_count) == 16);
    assert!(mem::offset_of!(ivg_timings, embed_seconds) == 24);
    assert!(mem::offset_of!(ivg_timings, normalize_seconds) == 32);
    assert!(mem::offset_of!(ivg_timings, projection_seconds) == 40);
    assert!(mem::offset_of!(ivg_timings, attention_seconds) == 48);
    assert!(mem::offset_of!(ivg_timings, feed_forward_seconds) == 56);
    assert!(mem::offset_of!(ivg_timings, output_seconds) == 64);
    assert!(mem::offset_of!(ivg_timings, sample_seconds) == 72);
    assert!(mem::offset_of!(ivg_timings, score_seconds) == 80);
    assert!(mem::offset_of!(ivg_timings, other_seconds) == 88);
    assert!(mem::size_of::<ivg_timings>() == 96);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_span {
    pub start: u64,
    pub length: u64,
}

impl Default for ivg_span {
    fn default() -> Self {
        Self {
            start: 0,
            length: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_span, start) == 0);
    assert!(mem::offset_of!(ivg_span, length) == 8);
    assert!(mem::size_of::<ivg_span>() == 16);
};

#[repr(C)]
pub struct ivg_sequence {
    _data: [u8; 0],
    _marker: Opaque,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_sequence_extension {
    pub sequence: *mut ivg_sequence,
    pub tokens: *const i32,
    pub token_count: usize,
}

impl Default for ivg_sequence_extension {
    fn default() -> Self {
        Self {
            sequence: ptr::null_mut(),
            tokens: ptr::null(),
            token_count: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_sequence_extension, sequence) == 0);
    assert!(mem::offset_of!(ivg_sequence_extension, tokens) == 8);
    assert!(mem::offset_of!(ivg_sequence_extension, token_count) == 16);
    assert!(mem::size_of::<ivg_sequence_extension>() == 24);
};

pub const IVG_SCORE_ENDED: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_hosted_row {
    pub tokens: *const i32,
    pub token_count: usize,
    pub logits: *mut f32,
}

impl Default for ivg_hosted_row {
    fn default() -> Self {
        Self {
            tokens: ptr::null(),
            token_count: 0,
            logits: ptr::null_mut(),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_hosted_row, tokens) == 0);
    assert!(mem::offset_of!(ivg_hosted_row, token_count) == 8);
    assert!(mem::offset_of!(ivg_hosted_row, logits) == 16);
    assert!(mem::size_of::<ivg_hosted_row>() == 24);
};

pub type ivg_hosted_logits_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, rows: *const ivg_hosted_row, count: usize, vocabulary_size: usize) -> i32>;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_hosted_options {
    pub struct_size: u32,
    pub context_length: u32,
    pub logits: ivg_hosted_logits_fn,
    pub user_data: *mut c_void,
    pub finalizer: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

impl Default for ivg_hosted_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            context_length: 0,
            logits: None,
            user_data: ptr::null_mut(),
            finalizer: None,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_hosted_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_hosted_options, context_length) == 4);
    assert!(mem::offset_of!(ivg_hosted_options, logits) == 8);
    assert!(mem::offset_of!(ivg_hosted_options, user_data) == 16);
    assert!(mem::offset_of!(ivg_hosted_options, finalizer) == 24);
    assert!(mem::size_of::<ivg_hosted_options>() == 32);
};

#[repr(C)]
pub struct ivg_trainer {
    _data: [u8; 0],
    _marker: Opaque,
}

pub const IVG_OBJECTIVE_SUPERVISED: u32 = 1;
pub const IVG_OBJECTIVE_PREFERENCE: u32 = 2;
pub const IVG_OBJECTIVE_REWARD: u32 = 3;
pub const IVG_OBJECTIVE_VALUE: u32 = 4;

pub const IVG_LOSS_DEFAULT: u32 = 0;
pub const IVG_LOSS_SIGMOID: u32 = 1;
pub const IVG_LOSS_ROBUST: u32 = 2;
pub const IVG_LOSS_IPO: u32 = 3;
pub const IVG_LOSS_REGRESSION: u32 = 4;
pub const IVG_LOSS_CLASSIFY: u32 = 5;
pub const IVG_LOSS_CDQ: u32 = 6;

pub const IVG_PROJECTION_QUERY: u32 = 1;
pub const IVG_PROJECTION_KEY: u32 = 2;
pub const IVG_PROJECTION_VALUE: u32 = 4;
pub const IVG_PROJECTION_OUTPUT: u32 = 8;
pub const IVG_PROJECTION_GATE: u32 = 16;
pub const IVG_PROJECTION_UP: u32 = 32;
pub const IVG_PROJECTION_DOWN: u32 = 64;

pub const IVG_TRAINER_HEAD_ONLY: u32 = 1;
pub const IVG_TRAINER_NO_END_TOKEN: u32 = 2;
pub const IVG_TRAINER_STRICT: u32 = 4;
pub const IVG_TRAINER_VOCABULARY_HEAD: u32 = 8;
pub const IVG_TRAINER_CONSTANT_RATE: u32 = 16;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_trainer_options {
    pub struct_size: u32,
    pub objective: u32,
    pub loss: u32,
    pub flags: u32,
    pub data_path: *const c_char,
    pub evaluation_path: *const c_char,
    pub start_path: *const c_char,
    pub checkpoint_path: *const c_char,
    pub prompt_template: *const c_char,
    pub evaluation_fraction: f64,
    pub epochs: f64,
    pub max_steps: u64,
    pub seed: u64,
    pub memory_budget: u64,
    pub thread_count: u32,
    pub batch_size: u32,
    pub max_tokens: u32,
    pub max_prompt_tokens: u32,
    pub rank: u32,
    pub projections: u32,
    pub alpha: f32,
    pub dropout: f32,
    pub learning_rate: f32,
    pub warmup_fraction: f32,
    pub weight_decay: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub clip_norm: f32,
    pub beta: f32,
    pub label_smoothing: f32,
    pub evaluate_every: u32,
    pub patience: u32,
    pub checkpoint_every: u32,
    pub reserved: u32,
}

impl Default for ivg_trainer_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            objective: 0,
            loss: 0,
            flags: 0,
            data_path: ptr::null(),
            evaluation_path: ptr::null(),
            start_path: ptr::null(),
            checkpoint_path: ptr::null(),
            prompt_template: ptr::null(),
            evaluation_fraction: 0.0,
            epochs: 0.0,
            max_steps: 0,
            seed: 0,
            memory_budget: 0,
            thread_count: 0,
            batch_size: 0,
            max_tokens: 0,
            max_prompt_tokens: 0,
            rank: 0,
            projections: 0,
            alpha: 0.0,
            dropout: 0.0,
            learning_rate: 0.0,
            warmup_fraction: 0.0,
            weight_decay: 0.0,
            beta1: 0.0,
            beta2: 0.0,
            clip_norm: 0.0,
            beta: 0.0,
            label_smoothing: 0.0,
            evaluate_every: 0,
            patience: 0,
            checkpoint_every: 0,
            reserved: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_trainer_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_trainer_options, objective) == 4);
    assert!(mem::offset_of!(ivg_trainer_options, loss) == 8);
    assert!(mem::offset_of!(ivg_trainer_options, flags) == 12);
    assert!(mem::offset_of!(ivg_trainer_options, data_path) == 16);
    assert!(mem::offset_of!(ivg_trainer_options, evaluation_path) == 24);
    assert!(mem::offset_of!(ivg_trainer_options, start_path) == 32);
    assert!(mem::offset_of!(ivg_trainer_options, checkpoint_path) == 40);
    assert!(mem::offset_of!(ivg_trainer_options, prompt_template) == 48);
    assert!(mem::offset_of!(ivg_trainer_options, evaluation_fraction) == 56);
    assert!(mem::offset_of!(ivg_trainer_options, epochs) == 64);
    assert!(mem::offset_of!(ivg_trainer_options, max_steps) == 72);
    assert!(mem::offset_of!(ivg_trainer_options, seed) == 80);
    assert!(mem::offset_of!(ivg_trainer_options, memory_budget) == 88);
    assert!(mem::offset_of!(ivg_trainer_options, thread_count) == 96);
    assert!(mem::offset_of!(ivg_trainer_options, batch_size) == 100);
    assert!(mem::offset_of!(ivg_trainer_options, max_tokens) == 104);
    assert!(mem::offset_of!(ivg_trainer_options, max_prompt_tokens) == 108);
    assert!(mem::offset_of!(ivg_trainer_options, rank) == 112);
    assert!(mem::offset_of!(ivg_trainer_options, projections) == 116);
    assert!(mem::offset_of!(ivg_trainer_options, alpha) == 120);
    assert!(mem::offset_of!(ivg_trainer_options, dropout) == 124);
    assert!(mem::offset_of!(ivg_trainer_options, learning_rate) == 128);
    assert!(mem::offset_of!(ivg_trainer_options, warmup_fraction) == 132);
    assert!(mem::offset_of!(ivg_trainer_options, weight_decay) == 136);
    assert!(mem::offset_of!(ivg_trainer_options, beta1) == 140);
    assert!(mem::offset_of!(ivg_trainer_options, beta2) == 144);
    assert!(mem::offset_of!(ivg_trainer_options, clip_norm) == 148);
    assert!(mem::offset_of!(ivg_trainer_options, beta) == 152);
    assert!(mem::offset_of!(ivg_trainer_options, label_smoothing) == 156);
    assert!(mem::offset_of!(ivg_trainer_options, evaluate_every) == 160);
    assert!(mem::offset_of!(ivg_trainer_options, patience) == 164);
    assert!(mem::offset_of!(ivg_trainer_options, checkpoint_every) == 168);
    assert!(mem::offset_of!(ivg_trainer_options, reserved) == 172);
    assert!(mem::size_of::<ivg_trainer_options>() == 176);
};

pub const IVG_REPORT_PREPARE: u32 = 1;
pub const IVG_REPORT_TRAIN: u32 = 2;
pub const IVG_REPORT_EVALUATE: u32 = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_trainer_report {
    pub struct_size: u32,
    pub kind: u32,
    pub step: u64,
    pub step_count: u64,
    pub done: u64,
    pub total: u64,
    pub token_count: u64,
    pub seconds: f64,
    pub tokens_per_second: f64,
    pub epoch: f64,
    pub loss: f64,
    pub learning_rate: f64,
    pub gradient_norm: f64,
    pub accuracy: f64,
    pub margin: f64,
    pub chosen: f64,
    pub rejected: f64,
    pub kl: f64,
    pub correlation: f64,
}

impl Default for ivg_trainer_report {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            kind: 0,
            step: 0,
            step_count: 0,
            done: 0,
            total: 0,
            token_count: 0,
            seconds: 0.0,
            tokens_per_second: 0.0,
            epoch: 0.0,
            loss: 0.0,
            learning_rate: 0.0,
            gradient_norm: 0.0,
            accuracy: 0.0,
            margin: 0.0,
            chosen: 0.0,
            rejected: 0.0,
            kl: 0.0,
            correlation: 0.0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_trainer_report, struct_size) == 0);
    assert!(mem::offset_of!(ivg_trainer_report, kind) == 4);
    assert!(mem::offset_of!(ivg_trainer_report, step) == 8);
    assert!(mem::offset_of!(ivg_trainer_report, step_count) == 16);
    assert!(mem::offset_of!(ivg_trainer_report, done) == 24);
    assert!(mem::offset_of!(ivg_trainer_report, total) == 32);
    assert!(mem::offset_of!(ivg_trainer_report, token_count) == 40);
    assert!(mem::offset_of!(ivg_trainer_report, seconds) == 48);
    assert!(mem::offset_of!(ivg_trainer_report, tokens_per_second) == 56);
    assert!(mem::offset_of!(ivg_trainer_report, epoch) == 64);
    assert!(mem::offset_of!(ivg_trainer_report, loss) == 72);
    assert!(mem::offset_of!(ivg_trainer_report, learning_rate) == 80);
    assert!(mem::offset_of!(ivg_trainer_report, gradient_norm) == 88);
    assert!(mem::offset_of!(ivg_trainer_report, accuracy) == 96);
    assert!(mem::offset_of!(ivg_trainer_report, margin) == 104);
    assert!(mem::offset_of!(ivg_trainer_report, chosen) == 112);
    assert!(mem::offset_of!(ivg_trainer_report, rejected) == 120);
    assert!(mem::offset_of!(ivg_trainer_report, kl) == 128);
    assert!(mem::offset_of!(ivg_trainer_report, correlation) == 136);
    assert!(mem::size_of::<ivg_trainer_report>() == 144);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_trainer_problem_info {
    pub struct_size: u32,
    pub is_evaluation: u32,
    pub line: u64,
    pub reason: *const c_char,
}

impl Default for ivg_trainer_problem_info {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            is_evaluation: 0,
            line: 0,
            reason: ptr::null(),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_trainer_problem_info, struct_size) == 0);
    assert!(mem::offset_of!(ivg_trainer_problem_info, is_evaluation) == 4);
    assert!(mem::offset_of!(ivg_trainer_problem_info, line) == 8);
    assert!(mem::offset_of!(ivg_trainer_problem_info, reason) == 16);
    assert!(mem::size_of::<ivg_trainer_problem_info>() == 24);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_trainer_info {
    pub struct_size: u32,
    pub kept_layers: u32,
    pub example_count: u64,
    pub evaluation_count: u64,
    pub parameter_count: u64,
    pub step_count: u64,
    pub resumed_step: u64,
    pub memory: u64,
}

impl Default for ivg_trainer_info {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            kept_layers: 0,
            example_count: 0,
            evaluation_count: 0,
            parameter_count: 0,
            step_count: 0,
            resumed_step: 0,
            memory: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_trainer_info, struct_size) == 0);
    assert!(mem::offset_of!(ivg_trainer_info, kept_layers) == 4);
    assert!(mem::offset_of!(ivg_trainer_info, example_count) == 8);
    assert!(mem::offset_of!(ivg_trainer_info, evaluation_count) == 16);
    assert!(mem::offset_of!(ivg_trainer_info, parameter_count) == 24);
    assert!(mem::offset_of!(ivg_trainer_info, step_count) == 32);
    assert!(mem::offset_of!(ivg_trainer_info, resumed_step) == 40);
    assert!(mem::offset_of!(ivg_trainer_info, memory) == 48);
    assert!(mem::size_of::<ivg_trainer_info>() == 56);
};

#[repr(C)]
pub struct ivg_quantizer {
    _data: [u8; 0],
    _marker: Opaque,
}

pub const IVG_QUANTIZE_PURE: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_quantize_options {
    pub struct_size: u32,
    pub flags: u32,
    pub thread_count: u32,
    pub reserved: u32,
    pub r#type: *const c_char,
    pub output_type: *const c_char,
    pub embedding_type: *const c_char,
    pub importance_path: *const c_char,
    pub memory_budget: u64,
}

impl Default for ivg_quantize_options {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            flags: 0,
            thread_count: 0,
            reserved: 0,
            r#type: ptr::null(),
            output_type: ptr::null(),
            embedding_type: ptr::null(),
            importance_path: ptr::null(),
            memory_budget: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_quantize_options, struct_size) == 0);
    assert!(mem::offset_of!(ivg_quantize_options, flags) == 4);
    assert!(mem::offset_of!(ivg_quantize_options, thread_count) == 8);
    assert!(mem::offset_of!(ivg_quantize_options, reserved) == 12);
    assert!(mem::offset_of!(ivg_quantize_options, r#type) == 16);
    assert!(mem::offset_of!(ivg_quantize_options, output_type) == 24);
    assert!(mem::offset_of!(ivg_quantize_options, embedding_type) == 32);
    assert!(mem::offset_of!(ivg_quantize_options, importance_path) == 40);
    assert!(mem::offset_of!(ivg_quantize_options, memory_budget) == 48);
    assert!(mem::size_of::<ivg_quantize_options>() == 56);
};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ivg_quantize_report {
    pub struct_size: u32,
    pub ends_tensor: u32,
    pub tensor_index: u64,
    pub tensor_count: u64,
    pub tensor: *const c_char,
    pub source_type: *const c_char,
    pub target_type: *const c_char,
    pub done: u64,
    pub total: u64,
    pub size_in: u64,
    pub size_out: u64,
    pub error: f64,
    pub seconds: f64,
}

impl Default for ivg_quantize_report {
    fn default() -> Self {
        Self {
            struct_size: mem::size_of::<Self>() as u32,
            ends_tensor: 0,
            tensor_index: 0,
            tensor_count: 0,
            tensor: ptr::null(),
            source_type: ptr::null(),
            target_type: ptr::null(),
            done: 0,
            total: 0,
            size_in: 0,
            size_out: 0,
            error: 0.0,
            seconds: 0.0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(mem::offset_of!(ivg_quantize_report, struct_size) == 0);
    assert!(mem::offset_of!(ivg_quantize_report, ends_tensor) == 4);
    assert!(mem::offset_of!(ivg_quantize_report, tensor_index) == 8);
    assert!(mem::offset_of!(ivg_quantize_report, tensor_count) == 16);
    assert!(mem::offset_of!(ivg_quantize_report, tensor) == 24);
    assert!(mem::offset_of!(ivg_quantize_report, source_type) == 32);
    assert!(mem::offset_of!(ivg_quantize_report, target_type) == 40);
    assert!(mem::offset_of!(ivg_quantize_report, done) == 48);
    assert!(mem::offset_of!(ivg_quantize_report, total) == 56);
    assert!(mem::offset_of!(ivg_quantize_report, size_in) == 64);
    assert!(mem::offset_of!(ivg_quantize_report, size_out) == 72);
    assert!(mem::offset_of!(ivg_quantize_report, error) == 80);
    assert!(mem::offset_of!(ivg_quantize_report, seconds) == 88);
    assert!(mem::size_of::<ivg_quantize_report>() == 96);
};

extern "C" {
    pub fn ivg_version_number() -> u32;
    pub fn ivg_version_string() -> *const c_char;
    pub fn ivg_status_string(status: ivg_status) -> *const c_char;
    pub fn ivg_kernels_name() -> *const c_char;
    pub fn ivg_error_status(error: *const ivg_error) -> ivg_status;
    pub fn ivg_error_message(error: *const ivg_error) -> *const c_char;
    pub fn ivg_error_free(error: *mut ivg_error);
    pub fn ivg_log_set(level: i32, sink: ivg_log_fn, user_data: *mut c_void, finalizer: Option<unsafe extern "C" fn(user_data: *mut c_void)>);
    pub fn ivg_file_open(out: *mut *mut ivg_file, path: *const c_char, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_file_free(file: *mut ivg_file);
    pub fn ivg_file_metadata_count(file: *const ivg_file) -> u64;
    pub fn ivg_file_metadata_key(file: *const ivg_file, index: u64) -> *const c_char;
    pub fn ivg_file_metadata_json(file: *const ivg_file, index: u64, max_elements: u64, buffer: *mut c_char, capacity: usize, needed: *mut usize, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_file_tensor_count(file: *const ivg_file) -> u64;
    pub fn ivg_file_tensor(file: *const ivg_file, index: u64, info: *mut ivg_tensor_info, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_model_options_init(options: *mut ivg_model_options, struct_size: u32);
    pub fn ivg_model_open(out: *mut *mut ivg_model, path: *const c_char, options: *const ivg_model_options, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_model_free(model: *mut ivg_model);
    pub fn ivg_model_information(model: *const ivg_model, info: *mut ivg_model_info, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_model_tokenize(model: *const ivg_model, text: *const c_char, text_length: usize, flags: u32, tokens: *mut i32, capacity: usize, count: *mut usize, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_model_detokenize(model: *const ivg_model, tokens: *const i32, count: usize, flags: u32, buffer: *mut c_char, capacity: usize, needed: *mut usize, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_model_chat_family(model: *const ivg_model) -> *const c_char;
    pub fn ivg_model_render_chat(model: *const ivg_model, chat_template: *const c_char, template_length: usize, messages: *const ivg_chat_message, count: usize, flags: u32, buffer: *mut c_char, capacity: usize, needed: *mut usize, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_model_token_ends(model: *const ivg_model, token: i32) -> i32;
    pub fn ivg_adapter_open(out: *mut *mut ivg_adapter, model: *const ivg_model, path: *const c_char, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_adapter_free(adapter: *mut ivg_adapter);
    pub fn ivg_value_head_open(out: *mut *mut ivg_value_head, model: *const ivg_model, path: *const c_char, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_value_head_free(head: *mut ivg_value_head);
    pub fn ivg_nudging_options_init(options: *mut ivg_nudging_options, struct_size: u32);
    pub fn ivg_guidance_options_init(options: *mut ivg_guidance_options, struct_size: u32);
    pub fn ivg_implicit_options_init(options: *mut ivg_implicit_options, struct_size: u32);
    pub fn ivg_explicit_options_init(options: *mut ivg_explicit_options, struct_size: u32);
    pub fn ivg_scorer_options_init(options: *mut ivg_scorer_options, struct_size: u32);
    pub fn ivg_guidance_create(out: *mut *mut ivg_guidance, options: *const ivg_guidance_options, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_guidance_free(guidance: *mut ivg_guidance);
    pub fn ivg_guidance_add_implicit(guidance: *mut ivg_guidance, options: *const ivg_implicit_options, weight: f64, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_guidance_add_explicit(guidance: *mut ivg_guidance, options: *const ivg_explicit_options, weight: f64, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_guidance_add_scorer(guidance: *mut ivg_guidance, options: *const ivg_scorer_options, weight: f64, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_guidance_set_nudging(guidance: *mut ivg_guidance, options: *const ivg_nudging_options, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_session_options_init(options: *mut ivg_session_options, struct_size: u32);
    pub fn ivg_session_create(out: *mut *mut ivg_session, model: *const ivg_model, options: *const ivg_session_options, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_session_free(session: *mut ivg_session);
    pub fn ivg_session_cancel(session: *mut ivg_session);
    pub fn ivg_generate_options_init(options: *mut ivg_generate_options, struct_size: u32);
    pub fn ivg_session_begin(session: *mut ivg_session, prompt: *const c_char, prompt_length: usize, options: *const ivg_generate_options, guidance: *const ivg_guidance, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_session_next(session: *mut ivg_session, step: *mut ivg_step, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_memory_required(model: *const ivg_model, session: *const ivg_session_options, options: *const ivg_generate_options, guidance: *const ivg_guidance, prompt_token_count: usize, bytes: *mut u64, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_session_result(session: *const ivg_session, result: *mut ivg_result, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_session_timings(session: *const ivg_session, timings: *mut ivg_timings, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_session_candidate(session: *mut ivg_session, index: u32, candidate: *mut ivg_candidate, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_session_nudges(session: *mut ivg_session, spans: *mut *const ivg_span, count: *mut usize, share: *mut f64, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_sequence_create(out: *mut *mut ivg_sequence, session: *mut ivg_session, adapter: *const ivg_adapter, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_sequence_fork(out: *mut *mut ivg_sequence, source: *mut ivg_sequence, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_sequence_free(sequence: *mut ivg_sequence);
    pub fn ivg_sequence_evaluate(sequence: *mut ivg_sequence, tokens: *const i32, count: usize, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_sequence_evaluate_batch(extensions: *const ivg_sequence_extension, count: usize, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_sequence_truncate(sequence: *mut ivg_sequence, length: usize, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_sequence_length(sequence: *const ivg_sequence) -> usize;
    pub fn ivg_sequence_logits(sequence: *mut ivg_sequence, logits: *mut *const f32, count: *mut usize, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_session_score(session: *mut ivg_session, guidance: *const ivg_guidance, prompt: *const c_char, prompt_length: usize, texts: *const *const c_char, text_lengths: *const usize, count: usize, flags: u32, scores: *mut f64, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_hosted_options_init(options: *mut ivg_hosted_options, struct_size: u32);
    pub fn ivg_model_create_hosted(out: *mut *mut ivg_model, vocabulary: *const ivg_model, options: *const ivg_hosted_options, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_trainer_options_init(options: *mut ivg_trainer_options, struct_size: u32);
    pub fn ivg_trainer_create(out: *mut *mut ivg_trainer, model: *const ivg_model, options: *const ivg_trainer_options, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_trainer_free(trainer: *mut ivg_trainer);
    pub fn ivg_trainer_next(trainer: *mut ivg_trainer, report: *mut ivg_trainer_report, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_trainer_cancel(trainer: *mut ivg_trainer);
    pub fn ivg_trainer_save(trainer: *mut ivg_trainer, path: *const c_char, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_trainer_checkpoint(trainer: *mut ivg_trainer, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_trainer_problem_count(trainer: *const ivg_trainer) -> u64;
    pub fn ivg_trainer_problem(trainer: *const ivg_trainer, index: u64, problem: *mut ivg_trainer_problem_info, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_trainer_describe(trainer: *const ivg_trainer, info: *mut ivg_trainer_info);
    pub fn ivg_quantize_options_init(options: *mut ivg_quantize_options, struct_size: u32);
    pub fn ivg_quantizer_create(out: *mut *mut ivg_quantizer, source_path: *const c_char, target_path: *const c_char, options: *const ivg_quantize_options, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_quantizer_free(quantizer: *mut ivg_quantizer);
    pub fn ivg_quantizer_next(quantizer: *mut ivg_quantizer, report: *mut ivg_quantize_report, error: *mut *mut ivg_error) -> ivg_status;
    pub fn ivg_quantizer_cancel(quantizer: *mut ivg_quantizer);
}
