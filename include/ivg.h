/* SPDX-License-Identifier: Apache-2.0
 *
 * ivg.h - value-guided text generation inside your process, on an ordinary CPU.
 *
 * libivg opens a quantised model file (GGUF), takes small models that say what "better" means, and produces
 * text steered by them: token by token (implicit values: a tuned and an untuned small model), chunk by chunk
 * (explicit values: a trained prefix scorer), or both - Integrated Value Guidance, arXiv 2409.17819. No server,
 * no GPU. This header is the whole contract and its reference manual.
 *
 * The shortest program:
 *
 *     ivg_model *model = NULL; ivg_session *session = NULL; ivg_error *error = NULL;
 *     ivg_step step = {.struct_size = sizeof step};
 *     ivg_status status = ivg_model_open(&model, "model.gguf", NULL, &error);
 *     if (status == IVG_OK) status = ivg_session_create(&session, model, NULL, &error);
 *     if (status == IVG_OK) status = ivg_session_begin(session, "Once", 4, NULL, NULL, &error);
 *     while (status == IVG_OK && (status = ivg_session_next(session, &step, &error)) == IVG_OK)
 *       fwrite(step.text, 1, step.text_length, stdout);
 *     if (status < 0) fprintf(stderr, "%s\n", ivg_error_message(error));
 *     ivg_error_free(error); ivg_session_free(session); ivg_model_free(model);
 *
 * A whole one, with guidance and Ctrl-C, stands at the beginning of section 9.
 *
 * Contents: 1 Version and status - 2 Errors - 3 Log - 4 Files - 5 Models and tokens - 6 Adapters and value heads -
 *           7 Guidance - 8 Sessions - 9 Generating - 10 Results - 11 Sequences - 12 Scoring - 13 Hosted models -
 *           14 Training - 15 Quantising
 *
 *
 * Rules that hold everywhere
 *
 * Results.    Fallible functions return an ivg_status: IVG_OK (0), a positive value that is not an error
 *             (IVG_DONE), or a negative error. Blocks name errors without their IVG_ERROR_. On an error, and only then,
 *             `*error` (if `error` is not NULL) is overwritten with a message that the caller frees: free an earlier
 *             one first. Out-parameters are then left as they were, but for `*needed` and `*count` of a buffer that is
 *             too small. IVG_ERROR_INTERNAL can come from any of them.
 * Ownership.  What a function writes to an `out` handle belongs to the caller, who frees it with the matching
 *             ivg_<noun>_free. Freeing NULL does nothing. Handles keep alive what they need: any order of
 *             freeing is right. Strings and arrays passed in are copied. A pointer that comes out is borrowed;
 *             its block says for how long. Borrowed strings are NUL-terminated UTF-8.
 * Options.    An options struct begins with `struct_size`, which the caller sets to sizeof of it (or calls the
 *             matching ..._init). A NULL options pointer, where it may be NULL, means all defaults; a zero field means
 *             its default, which stands behind it after `0:` or `NULL:`, unless it is required.
 *             Later versions only append fields. A larger struct than this library knows is accepted if the
 *             unknown rest is zero, else IVG_ERROR_UNSUPPORTED, like a flag that it does not know. A struct_size below
 *             4 or above 4096 is IVG_ERROR_INVALID_ARGUMENT. Structs that come out are sized by the caller in the same
 *             way: what this library knows and the struct does not is left out, what only the struct knows becomes
 *             zero.
 * Text.       UTF-8, with explicit length or NUL-terminated. Invalid UTF-8 in a prompt is passed to the tokenizer byte
 *             by byte (bytes that a vocabulary has no token for are left out).
 *             Text that comes out of a stream consists of whole code points. Paths are NUL-terminated UTF-8.
 * Threads.    Each block says on which threads its function may be called, and beside which other calls:
 *               any         on every thread at any time, whatever else is running;
 *               const       beside other `const` calls on the same object, not beside an `exclusive` one. These are the
 *                           functions that take `const ivg_x *`;
 *               exclusive   while no other call on the same object is running; which thread makes it does not matter.
 *                           These are the functions that take `ivg_x *`, ivg_x_free among them.
 *             Files, models, adapters, value heads and guidances are immutable once made (a guidance: once it is passed
 *             to a session) and may be shared by any number of sessions and threads: on them `const` is any, until the
 *             free. A session, with all sequences on it, is one object: one call at a time on all of them together. So
 *             is a trainer, and a quantizer. Several of them run side by side.
 *             ivg_session_cancel(), ivg_trainer_cancel() and ivg_quantizer_cancel() are `any`: on any thread and in
 *             signal handlers, from the return of create until free is called.
 *             Sessions, trainers and quantizers start their own worker threads when they are created, and end them when
 *             they are freed; these block all signals. Nothing runs at load. Callbacks run on the thread that made the
 *             call, but for the log's. No handle may be used in a child after fork().
 * Misuse.     A NULL where none is allowed, or a handle after its free, is undefined behaviour. Everything else -
 *             files, prompts, options - is checked, and ends in a status.
 * Sameness.   Same file, request and seed give the same bytes: for any thread count, any batch, any host.
 */
#ifndef IVG_H
#define IVG_H

#include <stddef.h>
#include <stdint.h>

/* The one source of the version: pkg-config, CMake, wheel and crate read it here. */
#define IVG_VERSION_MAJOR 0
#define IVG_VERSION_MINOR 1
#define IVG_VERSION_PATCH 0
#define IVG_VERSION_NUMBER (IVG_VERSION_MAJOR * 10000 + IVG_VERSION_MINOR * 100 + IVG_VERSION_PATCH)

#ifndef IVG_API
#  if defined(__GNUC__)
#    define IVG_API __attribute__((visibility("default")))
#  else
#    define IVG_API
#  endif
#endif

#if defined(__GNUC__)
#  define IVG_MUST_USE __attribute__((warn_unused_result))
#else
#  define IVG_MUST_USE
#endif

/* Nullability marks, where the compiler has them. Unmarked pointers are never NULL. */
#if defined(__has_feature)
#  if __has_feature(nullability)
#    define IVG_NONNULL _Nonnull
#    define IVG_NULLABLE _Nullable
#  endif
#endif
#ifndef IVG_NONNULL
#  define IVG_NONNULL
#  define IVG_NULLABLE
#endif

#if defined(__clang__)
#  pragma clang diagnostic push
#  pragma clang diagnostic ignored "-Wnullability-extension"
#  pragma clang assume_nonnull begin
#endif

#ifdef __cplusplus
#  define IVG_NOEXCEPT noexcept
extern "C" {
#else
#  define IVG_NOEXCEPT
#endif

/* ---- 1 Version and status -------------------------------------------------------------------------------- */

/* What a fallible function returns. The values are pinned for ever; new ones may be added. Since 0.1. */
typedef int32_t ivg_status;

/* The statuses. Since 0.1. */
enum {
  IVG_OK = 0,                        /* it was done                                                         */
  IVG_DONE = 1,                      /* the text has ended; not an error                                    */
  IVG_ERROR_INVALID_ARGUMENT = -1,   /* an option or argument is out of its range                           */
  IVG_ERROR_OUT_OF_MEMORY = -2,      /* the memory budget, or the machine's memory, does not suffice        */
  IVG_ERROR_IO = -3,                 /* the system refused to read, map or write a file                     */
  IVG_ERROR_CORRUPT_FILE = -4,       /* a file contradicts its own format                                   */
  IVG_ERROR_UNSUPPORTED = -5,        /* a valid file or request of a kind this version does not know        */
  IVG_ERROR_CANCELLED = -6,          /* an ivg_..._cancel() asked the call to stop; nothing else            */
  IVG_ERROR_CONTEXT_FULL = -7,       /* prompt or sequence longer than the context                          */
  IVG_ERROR_BUFFER_TOO_SMALL = -8,   /* `*needed` or `*count` says how much is needed                       */
  IVG_ERROR_MISMATCH = -9,           /* two models, or an adapter or head and a model, do not fit together  */
  IVG_ERROR_NOT_FOUND = -10,         /* no such file                                                        */
  IVG_ERROR_CALLBACK = -11,          /* a host callback reported failure or gave unusable values            */
  IVG_ERROR_INTERNAL = -99           /* a defect of libivg; please report the message                       */
};

/* ivg_version_number(): the library's IVG_VERSION_NUMBER, to compare with the header's. Since 0.1.
 * Returns: major * 10000 + minor * 100 + patch. Threads: any. */
IVG_API uint32_t ivg_version_number(void) IVG_NOEXCEPT;

/* ivg_version_string(): the same as text. Since 0.1.
 * Returns: "major.minor.patch". Ownership: static. Threads: any. */
IVG_API const char *ivg_version_string(void) IVG_NOEXCEPT;

/* ivg_status_string(): a fixed short text for a status, also for unknown values. Since 0.1.
 * Returns: the text, never NULL. Ownership: static. Threads: any. */
IVG_API const char *ivg_status_string(ivg_status status) IVG_NOEXCEPT;

/* ivg_kernels_name(): the instruction set in use. Since 0.1.
 *
 * The best one that the CPU has is chosen at run time; the environment variable IVG_KERNELS forces another
 * of these names (it is read once, before the first model is opened; a name that is not known, or that the CPU cannot
 * run, is ignored). All give the same bits.
 * Returns: "portable", "avx2", "avxvnni", "avx512vnni" or "neon-dotprod". Ownership: static. Threads: any. */
IVG_API const char *ivg_kernels_name(void) IVG_NOEXCEPT;

/* ---- 2 Errors ------------------------------------------------------------------------------------------- */

/* Why a call failed. Independent of every other handle. Since 0.1.
 * Threads: immutable; may be read and freed on any thread. */
typedef struct ivg_error ivg_error;

/* ivg_error_status(): the status that the failed call returned. Since 0.1.
 * Returns: a negative status. Threads: const. */
IVG_API ivg_status ivg_error_status(const ivg_error *error) IVG_NOEXCEPT;

/* ivg_error_message(): one sentence for a person; names the file, the field and the bound. Since 0.1.
 * Returns: the sentence, never NULL. Ownership: borrowed until ivg_error_free. Threads: const. */
IVG_API const char *ivg_error_message(const ivg_error *error) IVG_NOEXCEPT;

/* ivg_error_free(): frees an error; NULL is fine. Since 0.1.
 * Ownership: takes `error`; its message is gone. Threads: exclusive. */
IVG_API void ivg_error_free(ivg_error *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ---- 3 Log ---------------------------------------------------------------------------------------------- */

/* How much the log says. Since 0.1. */
enum {
  IVG_LOG_NONE = 0,    /* nothing                                                  */
  IVG_LOG_WARNING = 1, /* what should not be, but is no error                      */
  IVG_LOG_INFO = 2     /* also what is done: files that are opened, kernels in use */
};

/* A log sink. `level` is IVG_LOG_WARNING or IVG_LOG_INFO; `message` is borrowed for the call. It must not call libivg
 * and must not unwind. Since 0.1.
 * Threads: may be called on any thread, also on several at once. */
typedef void (*ivg_log_fn)(void *IVG_NULLABLE user_data, int32_t level, const char *message);

/* ivg_log_set(): sends messages up to `level` to `sink`; libivg is silent until this is called. Since 0.1.
 *
 * Process-wide. `sink` NULL makes the library silent again; `user_data` and `finalizer` of that call are not used.
 * Ownership: keeps `sink` and `user_data` until the next ivg_log_set; the sink's `finalizer` (NULL: none) is then
 * called with `user_data`, once no call to the sink is running any more.
 * Threads: any, one call at a time. */
IVG_API void ivg_log_set(int32_t level, ivg_log_fn IVG_NULLABLE sink, void *IVG_NULLABLE user_data,
                         void (*IVG_NULLABLE finalizer)(void *IVG_NULLABLE user_data)) IVG_NOEXCEPT;

/* ---- 4 Files -------------------------------------------------------------------------------------------- */

/* A GGUF file, opened only to look inside: metadata and tensor list. Since 0.1.
 * Threads: immutable; const calls on any number of threads. */
typedef struct ivg_file ivg_file;

/* One tensor of a file. `struct_size` is set by the caller before the first call. Since 0.1. */
typedef struct ivg_tensor_info {
  uint32_t struct_size;          /* sizeof(ivg_tensor_info)                         */
  uint32_t dimension_count;      /* 1 ... 4                                         */
  uint64_t shape[4];             /* fastest dimension (columns) first; 1 behind the last */
  uint64_t offset;               /* bytes from the start of the file                */
  uint64_t size;                 /* bytes                                           */
  const char *IVG_NULLABLE name; /* "blk.0.attn_q.weight", ...                      */
  const char *IVG_NULLABLE type; /* "F16", "Q4_0", ...                              */
} ivg_tensor_info;

/* ivg_file_open(): maps a GGUF file (v2 or v3) and checks its header. Since 0.1.
 * Returns: IVG_OK, or NOT_FOUND, IO, CORRUPT_FILE; UNSUPPORTED for another version or byte order, or a tensor type that
 *          is not known.
 * Ownership: free `*out`. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_file_open(ivg_file *IVG_NULLABLE *IVG_NONNULL out, const char *path,
                                              ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_file_free(): closes the file; NULL is fine. Since 0.1.
 * Ownership: takes `file`; strings borrowed from it are gone. Threads: exclusive. */
IVG_API void ivg_file_free(ivg_file *IVG_NULLABLE file) IVG_NOEXCEPT;

/* ivg_file_metadata_count(): how many metadata entries there are. Since 0.1.
 * Returns: the number; 0 for none. Threads: const. */
IVG_API uint64_t ivg_file_metadata_count(const ivg_file *file) IVG_NOEXCEPT;

/* ivg_file_metadata_key(): the name of entry `index`, in file order. Since 0.1.
 * Returns: the name; NULL past the end. Ownership: borrowed until ivg_file_free. Threads: const. */
IVG_API const char *IVG_NULLABLE ivg_file_metadata_key(const ivg_file *file, uint64_t index) IVG_NOEXCEPT;

/* ivg_file_metadata_json(): the value of entry `index` as JSON; of an array its first `max_elements`. Since 0.1.
 *
 * Sets `*needed` to the length without the NUL, and writes text and NUL to `buffer` if both fit into `capacity` bytes,
 * else nothing. `buffer` may be NULL, to ask for the length.
 * Returns: IVG_OK; INVALID_ARGUMENT for an index past the end; BUFFER_TOO_SMALL (`*needed` + 1 is enough).
 * Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_file_metadata_json(const ivg_file *file, uint64_t index,
                                                       uint64_t max_elements, char *IVG_NULLABLE buffer,
                                                       size_t capacity, size_t *needed,
                                                       ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_file_tensor_count(): how many tensors there are. Since 0.1.
 * Returns: the number; 0 for none. Threads: const. */
IVG_API uint64_t ivg_file_tensor_count(const ivg_file *file) IVG_NOEXCEPT;

/* ivg_file_tensor(): fills `info` with tensor `index`, in file order. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT past the end. Ownership: its strings are borrowed until ivg_file_free.
 * Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_file_tensor(const ivg_file *file, uint64_t index, ivg_tensor_info *info,
                                                ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ---- 5 Models and tokens -------------------------------------------------------------------------------- */

/* A model: memory-mapped weights, their description, a tokenizer. A file that holds only a vocabulary opens too, and
 * serves the token functions. Since 0.1.
 * Threads: immutable; shared by any number of sessions and threads. */
typedef struct ivg_model ivg_model;

/* How to open a model. Since 0.1. */
typedef struct ivg_model_options {
  uint32_t struct_size; /* sizeof(ivg_model_options) */
  uint32_t reserved;    /* must be 0                 */
} ivg_model_options;

/* What a model is. `struct_size` is set by the caller before the first call. A hosted model has its vocabulary and
 * context_length; its other numbers are 0 and its strings NULL. Since 0.1. */
typedef struct ivg_model_info {
  uint32_t struct_size;      /* sizeof(ivg_model_info)                                                   */
  uint32_t vocabulary_size;  /* token ids are 0 ... vocabulary_size - 1                                  */
  uint32_t context_length;   /* tokens the model was made for; 0 for a vocabulary-only file              */
  uint32_t embedding_length; /* width of the hidden state; 0 for a vocabulary-only file                  */
  uint32_t layer_count;      /* 0 for a vocabulary-only file                                             */
  uint32_t vocabulary_only;  /* 1: the file holds no weights                                             */
  int32_t begin_token;       /* BOS, or -1                                                               */
  int32_t end_token;         /* EOS, or -1                                                               */
  uint32_t adds_begin_token; /* 1: the file asks for BOS before a prompt                                 */
  uint32_t reserved;         /* 0                                                                        */
  uint64_t parameter_count;  /* numbers in the weights; 0 for a vocabulary-only file                     */
  uint64_t file_size;        /* bytes mapped                                                             */
  const char *IVG_NULLABLE path;          /* as it was given to ivg_model_open                           */
  const char *IVG_NULLABLE architecture;  /* "llama", "qwen2", ...; NULL if absent                       */
  const char *IVG_NULLABLE name;          /* general.name; NULL if absent                                */
  const char *IVG_NULLABLE chat_template; /* the file's Jinja template, for the host to render; NULL if absent */
} ivg_model_info;

/* ivg_model_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_model_options_init(ivg_model_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_model_open(): maps a model file. Since 0.1.
 *
 * Milliseconds: weights are neither read nor copied, only the header and the vocabulary are. The file must
 * not be changed while it is open. `options` may be NULL.
 * Returns: IVG_OK; NOT_FOUND, IO, CORRUPT_FILE; UNSUPPORTED names the architecture, tensor type or tokenizer; MISMATCH
 *          for an adapter or value head file; INVALID_ARGUMENT for a struct_size that cannot be; OUT_OF_MEMORY.
 * Ownership: free `*out`. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_model_open(ivg_model *IVG_NULLABLE *IVG_NONNULL out, const char *path,
                                               const ivg_model_options *IVG_NULLABLE options,
                                               ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_model_free(): gives the handle back; NULL is fine. Since 0.1.
 * Ownership: takes `model`; strings borrowed from it are gone. The file stays mapped until the last session, adapter,
 * head, guidance and trainer that uses it is freed too. Threads: exclusive. */
IVG_API void ivg_model_free(ivg_model *IVG_NULLABLE model) IVG_NOEXCEPT;

/* ivg_model_information(): describes the model. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT for a struct_size that cannot be.
 * Ownership: strings are borrowed until ivg_model_free. Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_model_information(const ivg_model *model, ivg_model_info *info,
                                                      ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* Flags of ivg_model_tokenize and ivg_model_detokenize. Since 0.1. */
enum {
  IVG_TOKENIZE_SPECIAL = 1, /* text like <|im_start|> becomes its control token                        */
  IVG_TOKENIZE_BEGIN = 2,   /* put BOS in front where the file asks for it, unless the text begins with BOS written out
                             * and IVG_TOKENIZE_SPECIAL is set: rendered chat templates often do */
  IVG_TOKENIZE_CONTINUES = 4, /* the text goes on behind another: no space is put in front of it (see below) */
  IVG_DETOKENIZE_SKIP_CONTROL = 1, /* leave control tokens out of the text                              */
  IVG_DETOKENIZE_CONTINUES = 2 /* the tokens go on behind others: every space stays                    */
};

/* ivg_model_tokenize(): text to token ids, as llama.cpp gives them. Since 0.1.
 *
 * SentencePiece vocabularies (those of Llama 2 and Mistral 7B, say, but not Gemma's) put a space in front of a text and
 * behind each special token (Mistral's since 0.3 behind none); ivg_model_detokenize() takes the one in front off again.
 * Parts of texts, such as the tokens of a result, are told by IVG_TOKENIZE_CONTINUES and IVG_DETOKENIZE_CONTINUES.
 * Generated text keeps its spaces always.
 *
 * Sets `*count` to the number of ids, and writes them to `tokens` if that is not NULL and `capacity` ids fit, else
 * nothing. `flags`: IVG_TOKENIZE_..., 0 for none; ivg_session_begin tokenises prompts with SPECIAL and BEGIN.
 * Returns: IVG_OK; BUFFER_TOO_SMALL if `*count` > `capacity`; INVALID_ARGUMENT for a text of 2 GiB or more; UNSUPPORTED
 *          for a flag that is not known. Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_model_tokenize(const ivg_model *model, const char *text, size_t text_length,
                                                   uint32_t flags, int32_t *IVG_NULLABLE tokens,
                                                   size_t capacity, size_t *count,
                                                   ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_model_detokenize(): token ids to the bytes they stand for (not necessarily whole code points). Since 0.1.
 *
 * Sets `*needed` to the length, and writes the bytes (no NUL) to `buffer` if they fit into `capacity`, else nothing.
 * `buffer` may be NULL, to ask for the length. `flags`: IVG_DETOKENIZE_..., 0 for none.
 * Returns: IVG_OK; BUFFER_TOO_SMALL; INVALID_ARGUMENT for an id outside the vocabulary; UNSUPPORTED for a flag that is
 *          not known. Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_model_detokenize(const ivg_model *model, const int32_t *tokens,
                                                     size_t count, uint32_t flags, char *IVG_NULLABLE buffer,
                                                     size_t capacity, size_t *needed,
                                                     ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* One message of a conversation. Fixed for ever: arrays of it have no struct_size. Since 0.1. */
typedef struct ivg_chat_message {
  const char *role;      /* "system", "user" or "assistant" */
  const char *content;   /* UTF-8, verbatim; not NULL */
  size_t content_length; /* bytes */
} ivg_chat_message;

/* Flags of ivg_model_render_chat. Since 0.1. */
enum { IVG_CHAT_GENERATION_PROMPT = 1 /* the beginning of the assistant's answer follows */ };

/* ivg_model_chat_family(): the name of the family whose chat template the model's file holds. Since 0.1.
 * Returns: for example "ChatML"; NULL if it has none or it is not known.
 * Ownership: borrowed until ivg_model_free. Threads: const. */
IVG_API const char *IVG_NULLABLE ivg_model_chat_family(const ivg_model *model) IVG_NOEXCEPT;

/* ivg_model_render_chat(): a conversation as the model's own chat template writes it, to the byte; a prompt for
 * ivg_session_begin(). Since 0.1.
 *
 * Templates are recognised, not run: one that is not known is refused. No tools are given to it, and where it asks for
 * the date it gets the one it names itself (26 Jul 2024 for Llama 3.1 to 3.3). Special tokens that a content spells
 * become special tokens in the prompt.
 * `chat_template`: NULL for the file's own, else the Jinja text of another, of `template_length` bytes.
 * `flags`: IVG_CHAT_GENERATION_PROMPT, 0 for none. Sets `*needed` to the length without the NUL, and writes text and
 * NUL to `buffer` if both fit into `capacity` bytes, else nothing. `buffer` may be NULL, to ask for the length.
 * Returns: IVG_OK; UNSUPPORTED for no template or one that is not known, or a flag; INVALID_ARGUMENT for no messages, a
 *          role that is not known, or a conversation that the template refuses; BUFFER_TOO_SMALL (`*needed` + 1 is
 *          enough).
 * Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_model_render_chat(
    const ivg_model *model, const char *IVG_NULLABLE chat_template, size_t template_length,
    const ivg_chat_message *messages, size_t count, uint32_t flags, char *IVG_NULLABLE buffer, size_t capacity,
    size_t *needed, ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_model_token_ends(): whether `token` ends a text (EOS and its relatives). Since 0.1.
 * Returns: 1 if it does, else 0, also for an id outside the vocabulary. Threads: const. */
IVG_API int32_t ivg_model_token_ends(const ivg_model *model, int32_t token) IVG_NOEXCEPT;

/* ---- 6 Adapters and value heads ------------------------------------------------------------------------- */

/* Low-rank deltas (LoRA) for one trunk, from a GGUF adapter file as llama.cpp reads and writes them. Adapted and
 * plain rows of one trunk share each reading of its weights. Since 0.1.
 * Threads: immutable; shared by any number of sessions and threads. */
typedef struct ivg_adapter ivg_adapter;

/* ivg_adapter_open(): opens an adapter for `model`. Since 0.1.
 * Returns: IVG_OK; MISMATCH for a file that is no adapter, or if a tensor does not fit the model, naming it;
 *          UNSUPPORTED for a hosted or vocabulary-only model, a kind of adapter or a tensor type that is not known;
 *          NOT_FOUND, IO, CORRUPT_FILE, OUT_OF_MEMORY.
 * Ownership: free `*out`; it keeps `model` alive. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_adapter_open(ivg_adapter *IVG_NULLABLE *IVG_NONNULL out,
                                                 const ivg_model *model, const char *path,
                                                 ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_adapter_free(): gives the handle back; NULL is fine. Since 0.1.
 * Ownership: takes `adapter`; what uses it keeps what it needs. Threads: exclusive. */
IVG_API void ivg_adapter_free(ivg_adapter *IVG_NULLABLE adapter) IVG_NOEXCEPT;

/* An explicit value model: a head on a trunk's final hidden state, with its own adapter if the file has one.
 * A vocabulary head values every next token in one pass; a scalar head values the text so far. Since 0.1.
 * Threads: immutable; shared by any number of sessions and threads. */
typedef struct ivg_value_head ivg_value_head;

/* ivg_value_head_open(): opens a value head for `model`. Since 0.1.
 * Returns: IVG_OK; MISMATCH for a file that is no value head, or if it does not fit the model; UNSUPPORTED for a hosted
 *          or vocabulary-only model, a kind of head or a tensor type that is not known; NOT_FOUND, IO, CORRUPT_FILE,
 *          OUT_OF_MEMORY.
 * Ownership: free `*out`; it keeps `model` alive. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_value_head_open(ivg_value_head *IVG_NULLABLE *IVG_NONNULL out,
                                                    const ivg_model *model, const char *path,
                                                    ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_value_head_free(): gives the handle back; NULL is fine. Since 0.1.
 * Ownership: takes `head`; what uses it keeps what it needs. Threads: exclusive. */
IVG_API void ivg_value_head_free(ivg_value_head *IVG_NULLABLE head) IVG_NOEXCEPT;

/* ---- 7 Guidance ----------------------------------------------------------------------------------------- */

/* What "better" means and how to search for it. Parts in the role TILT change every token's distribution
 *     logits = base + sum_i w_i (tuned_i - untuned_i) + sum_j w_j Q_j            (IVG eq. 6, 7)
 * parts in the role SCORE rank whole rows at the end of each chunk:
 *     S = sum_i w_i sum_t (log p_tuned - log p_untuned) + sum_j w_j V_j          (IVG eq. 9, 10)
 * The search draws W * K rows, keeps the best W after every L tokens, copies each K times, and so on.
 *
 *     method                    parts                          width W   successors K   chunk L
 *     plain sampling            none                                 1              1       0
 *     EFT (implicit, tokens)    implicit, TILT                       1              1       0
 *     EFT (explicit, tokens)    explicit, TILT                       1              1       0
 *     best of N                 any, SCORE                           1              N       0
 *     chunk-level beam search   any, SCORE                           W              K       L
 *     IVG                       implicit TILT + explicit SCORE       W              K       L
 *     n samples, all kept       none, or TILT                        n              1       0
 *     nudging                   ivg_guidance_set_nudging, alone      1              1       0
 *
 * Good starts: short text W 4, K 4, L 5; chat W 2, K 2, L 30; best of 16; weight 1.
 *
 * How to use one: ivg_guidance_create, any number of ivg_guidance_add_..., ivg_session_begin with it; it may be freed
 * at once then, and may serve any number of requests and sessions. A program that does all this is in section 9.
 *
 * Every model of a guidance has its own prompt template: a text in which {prompt} stands for the request's
 * prompt (a text without {prompt} is a prompt of its own; NULL is the bare prompt). TILT needs one
 * vocabulary with the base model; SCORE works across vocabularies by text. Since 0.1.
 *
 * Threads: exclusive while it is built; immutable and shared once a session has used it: it must not be added to
 * then. */
typedef struct ivg_guidance ivg_guidance;

/* Words of a guidance: roles of parts, and ways of searching. Since 0.1. */
enum {
  IVG_ROLE_TILT = 1,     /* the part changes every token's distribution                   */
  IVG_ROLE_SCORE = 2,    /* the part ranks rows at the end of each chunk                  */

  IVG_FINISHED_POOL = 0, /* a finished row keeps one slot and competes, at no cost        */
  IVG_FINISHED_TILE = 1, /* a finished row is copied K times like any other               */

  IVG_CANDIDATES_TILTED = 0, /* top-k of the tilted logits                                */
  IVG_CANDIDATES_BASE = 1    /* tilt only the base's top-k                                */
};

/* How a guidance searches. Width times successors is at most 1024. Since 0.1. */
typedef struct ivg_guidance_options {
  uint32_t struct_size;   /* sizeof(ivg_guidance_options)                                          */
  uint32_t width;         /* W, rows kept; 0: 1                                                    */
  uint32_t successors;    /* K, copies of each kept row; 0: 1                                      */
  uint32_t chunk;         /* L, tokens between selections; 0: select once, at the end              */
  uint32_t finished_rows; /* IVG_FINISHED_...; 0: IVG_FINISHED_POOL                                */
  uint32_t dedupe;        /* 1: of kept rows with equal text only the best stays; 0: all stay      */
  uint32_t candidates;    /* IVG_CANDIDATES_...; 0: IVG_CANDIDATES_TILTED                          */
  uint32_t reserved;      /* must be 0                                                             */
} ivg_guidance_options;

/* An implicit value: beta (log p_tuned - log p_untuned). With untuned_model, untuned_adapter and untuned_template all
 * NULL, the base model's own row is the untuned one. Since 0.1. */
typedef struct ivg_implicit_options {
  uint32_t struct_size;                            /* sizeof(ivg_implicit_options)                        */
  uint32_t role;                                   /* IVG_ROLE_... or both; 0: TILT                       */
  const ivg_model *IVG_NULLABLE tuned_model;       /* NULL: the adapter's model, else the session's       */
  const ivg_adapter *IVG_NULLABLE tuned_adapter;   /* NULL: none                                          */
  const char *IVG_NULLABLE tuned_template;         /* NULL: {prompt}                                      */
  const ivg_model *IVG_NULLABLE untuned_model;     /* NULL: the adapter's model, else the session's       */
  const ivg_adapter *IVG_NULLABLE untuned_adapter; /* NULL: none                                          */
  const char *IVG_NULLABLE untuned_template;       /* NULL: {prompt}                                      */
  uint32_t length_average;                         /* 1: a SCORE is divided by the number of tokens; 0: it is the sum */
  uint32_t reserved;                               /* must be 0                                           */
} ivg_implicit_options;

/* An explicit value: a trained prefix scorer. Since 0.1. */
typedef struct ivg_explicit_options {
  uint32_t struct_size;                    /* sizeof(ivg_explicit_options)  */
  uint32_t role;                           /* IVG_ROLE_... or both; 0: SCORE */
  const ivg_value_head *IVG_NULLABLE head; /* required                      */
  const char *IVG_NULLABLE template_text;  /* NULL: {prompt}                */
} ivg_explicit_options;

/* The host's own scorer: writes one score for each of `count` texts (the responses so far; one that a stop string ended
 * still has it at its end) that answer `prompt`. `finished`: 1 for a text that has ended. Returns 0, or non-zero to
 * fail the running call with IVG_ERROR_CALLBACK, as a score that is not finite does. What it is given is borrowed for
 * the call. Must not unwind, nor call back into that session but for ivg_session_cancel. Since 0.1.
 * Threads: runs on the thread that called ivg_session_next or ivg_session_score. */
typedef int32_t (*ivg_scorer_fn)(void *IVG_NULLABLE user_data, const char *prompt, size_t prompt_length,
                                 const char *IVG_NONNULL const *IVG_NONNULL texts, const size_t *text_lengths,
                                 const int32_t *finished, size_t count, double *scores);

/* A scorer of the host's own. Since 0.1. */
typedef struct ivg_scorer_options {
  uint32_t struct_size;             /* sizeof(ivg_scorer_options)                 */
  uint32_t reserved;                /* must be 0                                  */
  ivg_scorer_fn IVG_NULLABLE score; /* required                                   */
  void *IVG_NULLABLE user_data;     /* handed to the callbacks; NULL: they get NULL */
  void (*IVG_NULLABLE finalizer)(void *IVG_NULLABLE user_data); /* called when the last user of the guidance is gone, on
                                                                   the thread that freed it; NULL: none */
} ivg_scorer_options;

/* Nudging (arXiv 2410.09300): where the base's most probable token has a probability below `threshold`, a small tuned
 * model, the nudger, writes the next words; the base goes on where its next token agrees with the nudger's next word,
 * or is probable enough. Needs no training and no common vocabulary: the two exchange text. Always greedy; only the
 * nudger ends the answer.
 *
 * Each round the nudger drafts `burst` tokens, its first word is taken, the base is asked about all further words in
 * one pass, and goes on from where it takes over until it is below `threshold` again, or repeats itself. Text without
 * spaces (Chinese, Japanese, Thai) is handed over between characters. A repetition of 30 characters or more at the end
 * of the finished text is taken off the candidate's text; steps have brought it. Since 0.1. */
typedef struct ivg_nudging_options {
  uint32_t struct_size;                              /* sizeof(ivg_nudging_options) */
  uint32_t burst;                                    /* tokens that one side draws at a time, at most 1024; 0: 16 */
  const ivg_model *IVG_NULLABLE nudger_model;        /* NULL: the adapter's model. One of the two is required */
  const ivg_adapter *IVG_NULLABLE nudger_adapter;    /* NULL: none */
  const char *IVG_NULLABLE nudger_template;          /* NULL: {prompt}; the base's is in ivg_generate_options */
  float threshold;                                   /* gamma; above 1: always nudged; 0: 0.3; IVG_THRESHOLD_NEVER: 0 */
  uint32_t max_rounds;                               /* 0: 150 */
} ivg_nudging_options;

#define IVG_THRESHOLD_NEVER (-1.0f) /* a threshold that no probability is below. Since 0.1. */

/* ivg_nudging_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_nudging_options_init(ivg_nudging_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_guidance_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_guidance_options_init(ivg_guidance_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_implicit_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_implicit_options_init(ivg_implicit_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_explicit_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_explicit_options_init(ivg_explicit_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_scorer_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_scorer_options_init(ivg_scorer_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_guidance_create(): a guidance without parts; `options` may be NULL: one row. Since 0.1.
 * Returns: IVG_OK, or INVALID_ARGUMENT naming the field. Ownership: free `*out`. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_guidance_create(ivg_guidance *IVG_NULLABLE *IVG_NONNULL out,
                                                    const ivg_guidance_options *IVG_NULLABLE options,
                                                    ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_guidance_free(): gives the handle back; NULL is fine. Since 0.1.
 * Ownership: takes `guidance`; a request that was begun with it keeps what it needs. Threads: exclusive. */
IVG_API void ivg_guidance_free(ivg_guidance *IVG_NULLABLE guidance) IVG_NOEXCEPT;

/* ivg_guidance_add_implicit(): adds an implicit value with its weight (strength; 1 is usual, 0 turns it off,
 * negative values steer away). Any number may be added. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT for a role that is not known, a weight that is not finite (as a float), or a
 *          guidance with nudging; MISMATCH if an adapter is for another model than the one given with it.
 * Ownership: keeps models and adapters alive. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_guidance_add_implicit(ivg_guidance *guidance,
                                                          const ivg_implicit_options *options, double weight,
                                                          ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_guidance_add_explicit(): adds an explicit value with its weight, as above. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT as above, or for a head that is NULL.
 * Ownership: keeps the head alive. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_guidance_add_explicit(ivg_guidance *guidance,
                                                          const ivg_explicit_options *options, double weight,
                                                          ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_guidance_add_scorer(): adds the host's own scorer (role SCORE) with its weight, as above. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT as above, or for a score that is NULL.
 * Ownership: keeps `user_data`, which must live until the finalizer is called: when the guidance and every request that
 * was begun with it are gone. On an error the finalizer is not called. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_guidance_add_scorer(ivg_guidance *guidance,
                                                        const ivg_scorer_options *options, double weight,
                                                        ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_guidance_set_nudging(): has a small model nudge the base. Setting it again replaces it. Since 0.1.
 *
 * Stands alone: a guidance with nudging has no parts and no search. Of ivg_generate_options it takes max_tokens (tokens
 * of both sides, each in its own vocabulary), prompt_template, stop_strings and IVG_GENERATE_IGNORE_END; end_tokens and
 * banned_tokens if the nudger has the base's vocabulary. Anything that asks for another way of drawing than greedy is
 * an error of ivg_session_begin.
 * Returns: IVG_OK; INVALID_ARGUMENT naming the field, or the part or option of the search that stands in the way;
 *          MISMATCH if the adapter is for another model. Ownership: keeps model and adapter alive.
 * Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_guidance_set_nudging(ivg_guidance *guidance,
                                                         const ivg_nudging_options *options,
                                                         ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ---- 8 Sessions ----------------------------------------------------------------------------------------- */

/* The state of generating: key/value memory, scratch, worker threads, one request at a time. What a request has
 * computed for its prompts is reused by the next one that begins alike. Since 0.1.
 *
 * A request goes so: ivg_session_begin says what is asked for; each ivg_session_next brings a step, until IVG_DONE;
 * ivg_session_result and ivg_session_candidate tell of the whole, also between steps; ivg_session_cancel stops the call
 * that is running, and ivg_session_next goes on behind it, or ivg_session_begin drops the request for another.
 *
 * Threads: one call at a time on it and all its sequences together, on any thread; ivg_session_cancel at any time. */
typedef struct ivg_session ivg_session;

/* What a session may take. Since 0.1. */
typedef struct ivg_session_options {
  uint32_t struct_size;    /* sizeof(ivg_session_options)                                              */
  uint32_t thread_count;   /* at most 1024; 0: the processors this process may use                     */
  uint32_t context_length; /* tokens a sequence may hold, in guides too; 0: the model's, capped by the memory budget */
  uint32_t timings;        /* 1: measures where time goes, for ivg_session_timings; 0: does not        */
  uint64_t memory_budget;  /* bytes beside the mapped files; 0: three quarters of the machine's memory */
} ivg_session_options;

/* ivg_session_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_session_options_init(ivg_session_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_session_create(): a session on a base model; `options` may be NULL. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT, also for a context_length beyond the model's; UNSUPPORTED for a vocabulary-only
 *          model; OUT_OF_MEMORY.
 * Ownership: free `*out`; it keeps `model` alive. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_session_create(ivg_session *IVG_NULLABLE *IVG_NONNULL out,
                                                   const ivg_model *model,
                                                   const ivg_session_options *IVG_NULLABLE options,
                                                   ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_session_free(): stops the worker threads and gives everything back; NULL is fine. Since 0.1.
 * Ownership: takes `session`; what was borrowed from it is gone. Sequences on it keep its memory and its threads until
 * the last of them is freed. Threads: exclusive; nor may an ivg_session_cancel run, or come later. */
IVG_API void ivg_session_free(ivg_session *IVG_NULLABLE session) IVG_NOEXCEPT;

/* ivg_session_cancel(): makes the running call on the session return IVG_ERROR_CANCELLED. Since 0.1.
 *
 * One atomic store: async-signal-safe, waits for nothing, never fails. The calls that it stops are ivg_session_next (a
 * prompt being read, too), ivg_session_score and ivg_sequence_evaluate, at the next layer of the model that they
 * compute; a callback of the host is not interrupted. Without one of them running, the next of them is cancelled,
 * whichever request it serves: a cancel that came too late for its request, say behind its IVG_DONE, stops the first
 * call of the next one. Several cancels before that count as one.
 *
 * Nothing is lost by it. Text that steps have brought stays. The call may be repeated: it goes on at the last whole
 * token, and text and scores are those of a request that was never cancelled. Or another request may begin.
 * Threads: any, and in signal handlers: from the return of ivg_session_create until ivg_session_free is called. */
IVG_API void ivg_session_cancel(ivg_session *session) IVG_NOEXCEPT;

/* ---- 9 Generating --------------------------------------------------------------------------------------- */

/* Guided text that streams as it comes, until Ctrl-C; cc -std=c99 stream.c -livg; ./a.out model.gguf "The film was"
 *
 *     #include <ivg.h>
 *     #include <signal.h>
 *     #include <stdio.h>
 *     #include <string.h>
 *
 *     static ivg_session *session; // there before the handler is installed, freed when it is gone
 *
 *     static void interrupt(int number) {
 *       (void)number;
 *       ivg_session_cancel(session);
 *     }
 *
 *     int main(int count, char **arguments) {
 *       ivg_model *model = NULL;
 *       ivg_guidance *guidance = NULL;
 *       ivg_error *error = NULL;
 *       ivg_step step = {.struct_size = sizeof step};
 *       ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 200, .seed = 1};
 *       ivg_guidance_options search = {.struct_size = sizeof search, .width = 2, .successors = 2, .chunk = 10};
 *       ivg_implicit_options value = {.struct_size = sizeof value,
 *                                     .role = IVG_ROLE_TILT | IVG_ROLE_SCORE,
 *                                     .tuned_template = "A review by someone who loved it: {prompt}",
 *                                     .untuned_template = "A review: {prompt}"};
 *       if (count != 3) {
 *         fprintf(stderr, "usage: %s MODEL PROMPT\n", arguments[0]);
 *         return 2;
 *       }
 *       ivg_status status = ivg_model_open(&model, arguments[1], NULL, &error);
 *       if (status == IVG_OK) status = ivg_session_create(&session, model, NULL, &error);
 *       if (status == IVG_OK) status = ivg_guidance_create(&guidance, &search, &error);
 *       if (status == IVG_OK) status = ivg_guidance_add_implicit(guidance, &value, 1.0, &error);
 *       if (status == IVG_OK)
 *         status = ivg_session_begin(session, arguments[2], strlen(arguments[2]), &options, guidance, &error);
 *       if (status == IVG_OK) signal(SIGINT, interrupt);
 *       while (status == IVG_OK && (status = ivg_session_next(session, &step, &error)) == IVG_OK) {
 *         fwrite(step.text, 1, step.text_length, stdout);
 *         fflush(stdout);
 *       }
 *       signal(SIGINT, SIG_DFL);
 *       printf("\n");
 *       // After a cancel everything is as it was: ivg_session_next would go on with the text.
 *       if (status == IVG_ERROR_CANCELLED) fprintf(stderr, "stopped\n");
 *       else if (status < 0) fprintf(stderr, "%s\n", ivg_error_message(error));
 *       ivg_error_free(error); // a cancelled call gives a message, too; all of these in any order
 *       ivg_guidance_free(guidance);
 *       ivg_session_free(session);
 *       ivg_model_free(model);
 *       return status < 0;
 *     }
 *
 * To go on instead: ivg_error_free(error), error = NULL, status = IVG_OK, and the loop again. A cancelled call brings
 * no text. What there is beyond the steps' text, because it was held back, ivg_session_candidate(session, 0, ...)
 * gives: with one row every token drawn so far, with several the best row as the last selection left it (none before
 * the first). */

#define IVG_GREEDY (-1.0f)         /* a temperature: always the most probable token. Since 0.1. */
#define IVG_TOP_K_OFF UINT32_MAX   /* a top_k: the whole vocabulary. Since 0.1.                 */

/* Flags of ivg_generate_options. Since 0.1. */
enum {
  IVG_GENERATE_IGNORE_END = 1, /* end tokens are ordinary tokens                                    */
  IVG_GENERATE_ATTRIBUTION = 2 /* keep per-token base log-probabilities and guide log-ratios        */
};

/* The host's own step in sampling: may change `logits` [vocabulary_size] (tilted, raw scale) of one row in place.
 * `row`: its number, 0 ... W * K - 1. `tokens` [token_count]: its generated tokens so far. Returns 0, or non-zero to
 * fail the running call with IVG_ERROR_CALLBACK, as logits that are not numbers do. What it is given is borrowed for
 * the call. Must not unwind, nor call back into that session but for ivg_session_cancel. Since 0.1.
 * Threads: runs on the thread that called ivg_session_next. */
typedef int32_t (*ivg_logits_processor_fn)(void *IVG_NULLABLE user_data, uint32_t row, const int32_t *tokens,
                                           size_t token_count, float *logits, size_t vocabulary_size);

/* What a request asks for beside its prompt and guidance.
 * Order within a step: banned tokens, tilt, repetition penalty, logits processor, temperature, top-k, top-p, min-p.
 * Since 0.1. */
typedef struct ivg_generate_options {
  uint32_t struct_size;     /* sizeof(ivg_generate_options)                                            */
  uint32_t max_tokens;      /* hard bound on generated tokens of a row; 0: 128                         */
  uint64_t seed;            /* equal seeds give equal text; 0: a seed like any other                   */
  float temperature;        /* at most 1000; 0: 0.7; IVG_GREEDY: the most probable token               */
  float top_p;              /* 0 or 1: off                                                             */
  float min_p;              /* keep tokens of at least min_p times the largest probability; 0: off     */
  float repetition_penalty; /* divides positive, multiplies negative logits of seen tokens; 0 or 1: off */
  uint32_t top_k;           /* 0: 50; IVG_TOP_K_OFF: the whole vocabulary                              */
  uint32_t flags;           /* IVG_GENERATE_...; 0: none                                               */
  uint32_t top_log_probabilities; /* how many alternatives a step reports; 0: none; at most 64         */
  uint32_t reserved;        /* must be 0                                                               */
  const char *IVG_NULLABLE prompt_template; /* for the base model; NULL: {prompt}                      */
  const char *IVG_NONNULL const *IVG_NULLABLE stop_strings; /* a row ends before the first of these; NULL: none */
  size_t stop_string_count;                 /* at most 1024, each of 1 ... 65536 bytes; 0: none        */
  const int32_t *IVG_NULLABLE end_tokens;   /* further tokens that end a row, beside the model's own; NULL: none */
  size_t end_token_count;                   /* 0: none                                                 */
  const int32_t *IVG_NULLABLE banned_tokens; /* never generated; NULL: none                            */
  size_t banned_token_count;                /* 0: none                                                 */
  ivg_logits_processor_fn IVG_NULLABLE logits_processor; /* NULL: none                                 */
  void *IVG_NULLABLE logits_processor_data; /* handed to logits_processor; NULL: it gets NULL          */
} ivg_generate_options;

/* Why a row has ended. Since 0.1. */
enum {
  IVG_FINISH_NONE = 0,   /* not finished                       */
  IVG_FINISH_END = 1,    /* an end token (not part of the text) */
  IVG_FINISH_STOP = 2,   /* a stop string (not part of the text) */
  IVG_FINISH_LENGTH = 3, /* max_tokens                         */
  IVG_FINISH_REPEAT = 4, /* the nudger said the same a fourth time in a row (not part of the text) */
  IVG_FINISH_ROUNDS = 5  /* ivg_nudging_options.max_rounds     */
};

/* What a step is. Since 0.1. */
enum {
  IVG_STEP_TOKEN = 0, /* a token; with nudging text of the base                              */
  IVG_STEP_CHUNK = 1, /* a selection of rows                                                 */
  IVG_STEP_NUDGE = 2  /* text of the nudger: some words, or nothing where only the end is new */
};

/* What ivg_session_next() brought. `struct_size` is set by the caller before the first call. Since 0.1. */
typedef struct ivg_step {
  uint32_t struct_size;   /* sizeof(ivg_step)                                                                */
  uint32_t kind;          /* IVG_STEP_TOKEN with one row, IVG_STEP_CHUNK with more, ..._NUDGE                 */
  int32_t token;          /* the token; -1 for a chunk, a nudge, and text alone that was held back           */
  uint32_t finish_reason; /* IVG_FINISH_...: not NONE in the last step                                       */
  float log_probability;  /* of `token` under the guided distribution at temperature 1, untruncated; 0 for a chunk */
  uint32_t top_count;     /* entries of the two arrays below                                                 */
  double value;           /* score of the leading row; 0 without SCORE parts, and with one row before the last step */
  const char *IVG_NULLABLE text; /* new text that will not change any more: whole code points, may be empty  */
  size_t text_length;     /* bytes */
  const int32_t *IVG_NULLABLE top_tokens;            /* [top_count] most probable first; one row only         */
  const float *IVG_NULLABLE top_log_probabilities;   /* [top_count] as log_probability                        */
} ivg_step;

/* ivg_generate_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_generate_options_init(ivg_generate_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_session_begin(): starts a request; a request that was under way is dropped. Since 0.1.
 *
 * Tokenises and plans, takes the memory, computes nothing. The prompt is raw text in which special tokens are
 * parsed; BOS is added only where the file asks for it, and not to a prompt that begins with it (rendered chat
 * templates of Llama 3, Gemma or Mistral do). `options` and `guidance` may be NULL. An empty prompt is
 * allowed where the file has a BOS or EOS token to begin with.
 * Returns: IVG_OK; INVALID_ARGUMENT naming the option; UNSUPPORTED for a flag that is not known, a vocabulary-only
 *          guide, or a hosted model where text must be scored; MISMATCH if vocabularies differ in a TILT, or an adapter
 *          or head is for another model; CONTEXT_FULL if prompt and max_tokens exceed the context; OUT_OF_MEMORY naming
 *          the bytes needed and the budget. After an error an earlier request may be gone, too.
 * Ownership: copies everything; keeps `guidance` alive. What the logits processor uses must live until another request
 * begins or the session is freed. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_session_begin(ivg_session *session, const char *prompt,
                                                  size_t prompt_length,
                                                  const ivg_generate_options *IVG_NULLABLE options,
                                                  const ivg_guidance *IVG_NULLABLE guidance,
                                                  ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_session_next(): generates the next token (one row) or chunk (several rows). Since 0.1.
 *
 * The first call also reads the prompt. Text is held back while it may still become part of a stop string, is
 * an incomplete code point, or (several rows) while kept rows differ in it; the last step brings the rest.
 * Returns: IVG_OK and fills `step`; IVG_DONE, without a step, when the text has ended (and ever after); CANCELLED,
 *          after which the call may be repeated; CALLBACK; INVALID_ARGUMENT without a begun request, or if no token is
 *          left to draw; CORRUPT_FILE for weights that give values which are not numbers; CONTEXT_FULL or OUT_OF_MEMORY
 *          if a SCORE part of another vocabulary needs more tokens for the text than its model, or the budget, holds;
 *          CONTEXT_FULL if one side of nudging needs more tokens for the other's text than its context holds, or more
 *          than 16 (with one vocabulary: 4) for each of max_tokens. An error of the request other than CANCELLED ends
 *          it: further calls return the same.
 * Ownership: pointers in `step` are borrowed until the next call on the session. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_session_next(ivg_session *session, ivg_step *step,
                                                 ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_memory_required(): bytes that a session with one such request takes beside the mapped files. Since 0.1.
 *
 * `prompt_token_count`: tokens of the longest prompt, as ivg_model_tokenize gives them with SPECIAL and BEGIN. The figure
 * is an upper bound, and what begin compares with the budget. `session`, `options`, `guidance` may be NULL.
 * Returns: IVG_OK; what ivg_session_create and ivg_session_begin would return: INVALID_ARGUMENT, UNSUPPORTED, MISMATCH,
 *          CONTEXT_FULL, OUT_OF_MEMORY if the budget does not hold the context.
 * Ownership: keeps nothing. Threads: const, on model and guidance. */
IVG_API IVG_MUST_USE ivg_status ivg_memory_required(const ivg_model *model,
                                                    const ivg_session_options *IVG_NULLABLE session,
                                                    const ivg_generate_options *IVG_NULLABLE options,
                                                    const ivg_guidance *IVG_NULLABLE guidance,
                                                    size_t prompt_token_count, uint64_t *bytes,
                                                    ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ---- 10 Results ----------------------------------------------------------------------------------------- */

/* The request as a whole. `struct_size` is set by the caller before the first call. Since 0.1. */
typedef struct ivg_result {
  uint32_t struct_size;        /* sizeof(ivg_result) */
  uint32_t candidate_count;    /* kept rows, best first; valid between steps too */
  uint32_t finish_reason;      /* of the best row: IVG_FINISH_... */
  uint32_t guide_count;        /* implicit and explicit TILT or SCORE parts, in the order they were added */
  uint64_t prompt_token_count; /* of the base prompt */
  uint64_t reused_token_count; /* of these, taken from an earlier request */
  uint64_t token_count;        /* tokens sampled over all rows */
  double prompt_seconds;       /* until the first token */
  double generate_seconds;     /* after it */
  uint64_t memory_used;        /* bytes beside the mapped files, as compared with the budget */
} ivg_result;

/* One kept row. `struct_size` is set by the caller before the first call. Since 0.1. */
typedef struct ivg_candidate {
  uint32_t struct_size;    /* sizeof(ivg_candidate)                                             */
  uint32_t finish_reason;  /* IVG_FINISH_...                                                    */
  double score;            /* S of the whole row; 0 without SCORE parts                         */
  double log_probability;  /* sum over its tokens                                               */
  const char *IVG_NULLABLE text; /* without stop string and end token; invalid bytes as U+FFFD  */
  size_t text_length;      /* bytes                                                             */
  const int32_t *IVG_NULLABLE tokens; /* [token_count] with the end token, if that was its end; with nudging those
                                         of the nudger in its own vocabulary                    */
  size_t token_count;      /* entries of the arrays                                             */
  const float *IVG_NULLABLE log_probabilities;      /* [token_count]                             */
  const float *IVG_NULLABLE base_log_probabilities; /* [token_count] with IVG_GENERATE_ATTRIBUTION; else NULL */
  const float *IVG_NULLABLE guide_values;           /* [token_count][guide_count] with ..._ATTRIBUTION: the log-ratio of
                                                       an implicit part, the Q of an explicit one; NaN if not in hand
                                                       (explicit parts that only SCORE, other
                                                       vocabularies); else NULL */
} ivg_candidate;

/* ivg_session_result(): describes the current request. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT without a begun request. Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_session_result(const ivg_session *session, ivg_result *result,
                                                   ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* Where the time of a session's calls went since its creation, in seconds of the calling thread. `struct_size` is set
 * by the caller before the first call. Since 0.1. */
typedef struct ivg_timings {
  uint32_t struct_size;        /* sizeof(ivg_timings)                                              */
  uint32_t reserved;           /* 0                                                                */
  uint64_t pass_count;         /* forward passes over a model's weights                            */
  uint64_t row_count;          /* rows (tokens) of all passes together                             */
  double embed_seconds;        /* reading the tokens' embeddings                                   */
  double normalize_seconds;    /* norms, and rounding for quantised weights                        */
  double projection_seconds;   /* query, key, value and attention output                           */
  double attention_seconds;    /* rotation, storing keys and values, scores and mixtures           */
  double feed_forward_seconds; /* gate, up, activation and down                                    */
  double output_seconds;       /* the final norm, logits, heads, log-probabilities                 */
  double sample_seconds;       /* penalties, tilts, drawing                                        */
  double score_seconds;        /* adding up scores, selecting rows (their passes count above)      */
  double other_seconds;        /* everything else within the calls                                 */
} ivg_timings;

/* ivg_session_timings(): describes where time went. Measuring costs less than one percent. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT if the session was created without the option timings. Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_session_timings(const ivg_session *session, ivg_timings *timings,
                                                    ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_session_candidate(): kept row `index`, best first. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT past the end, or without a begun request.
 * Ownership: its pointers are borrowed until the next call on the session. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_session_candidate(ivg_session *session, uint32_t index,
                                                      ivg_candidate *candidate,
                                                      ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* Some bytes of a text. Since 0.1. */
typedef struct ivg_span {
  uint64_t start;  /* the first byte's offset */
  uint64_t length; /* bytes                   */
} ivg_span;

/* ivg_session_nudges(): which bytes of the candidate's text the nudger wrote, in order. Since 0.1.
 *
 * `*share` receives the nudger's share of the answer's tokens, 0 ... 1; its end token counts. Without nudging it is 0,
 * and `*count`, too; `*spans` is NULL where `*count` is 0.
 * Returns: IVG_OK; INVALID_ARGUMENT without a begun request. Ownership: `*spans`, [*count], is borrowed until the next
 * call on the session. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_session_nudges(ivg_session *session,
                                                   const ivg_span *IVG_NULLABLE *IVG_NONNULL spans,
                                                   size_t *count, double *share,
                                                   ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ---- 11 Sequences --------------------------------------------------------------------------------------- */

/* A sequence of evaluated tokens within a session, for hosts that bring their own loop. Sequences share the session's
 * memory and stay valid across its requests. Models with LongRoPE (Phi-3) have two ways of rotating: a request is short
 * if its prompt and max_tokens are within the model's original context, a sequence if the session's context_length is.
 * Since 0.1.
 * Threads: one call at a time on a session and all its sequences together. */
typedef struct ivg_sequence ivg_sequence;

/* ivg_sequence_create(): an empty sequence on the session's model; `adapter` may be NULL. Since 0.1.
 * Returns: IVG_OK; MISMATCH for an adapter of another model; UNSUPPORTED for a hosted model; OUT_OF_MEMORY.
 * Ownership: free `*out`; keeps the session and `adapter` alive. Threads: exclusive, on the session. */
IVG_API IVG_MUST_USE ivg_status ivg_sequence_create(ivg_sequence *IVG_NULLABLE *IVG_NONNULL out,
                                                    ivg_session *session,
                                                    const ivg_adapter *IVG_NULLABLE adapter,
                                                    ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_sequence_fork(): a copy with its logits, at no cost until it differs. Since 0.1.
 * Returns: IVG_OK; OUT_OF_MEMORY.
 * Ownership: free `*out`; keeps the session alive, and needs `source` no more. Threads: exclusive, on the session. */
IVG_API IVG_MUST_USE ivg_status ivg_sequence_fork(ivg_sequence *IVG_NULLABLE *IVG_NONNULL out,
                                                  ivg_sequence *source,
                                                  ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_sequence_free(): gives the sequence back; NULL is fine. Since 0.1.
 * Ownership: takes `sequence`; logits borrowed from it are gone. Threads: exclusive, on the session. */
IVG_API void ivg_sequence_free(ivg_sequence *IVG_NULLABLE sequence) IVG_NOEXCEPT;

/* ivg_sequence_evaluate(): appends tokens and computes their states. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT for an id outside the vocabulary; CONTEXT_FULL, OUT_OF_MEMORY, CANCELLED (by
 * ivg_session_cancel), all of which leave the sequence as it was. Threads: exclusive, on the session. */
IVG_API IVG_MUST_USE ivg_status ivg_sequence_evaluate(ivg_sequence *sequence, const int32_t *tokens,
                                                      size_t count,
                                                      ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* Tokens to append to a sequence. Fixed for ever: arrays of it have no struct_size. Since 0.1. */
typedef struct ivg_sequence_extension {
  ivg_sequence *sequence;             /* what is appended to                                       */
  const int32_t *IVG_NULLABLE tokens; /* [token_count] ids; NULL: none, if there are none          */
  size_t token_count;                 /* how many; 0: the sequence stays as it is                  */
} ivg_sequence_extension;

/* ivg_sequence_evaluate_batch(): ivg_sequence_evaluate() for several sequences of one session, in one pass over the
 * weights for all of them. Since 0.1.
 *
 * Users with an adapter each, or the branches of a search, cost little more together than one alone; the logits are the
 * same bits.
 * Returns: IVG_OK; INVALID_ARGUMENT for an id outside the vocabulary, a sequence that occurs twice, sequences of different
 *          sessions; CONTEXT_FULL; OUT_OF_MEMORY; CANCELLED. On an error all sequences are as they were.
 * Ownership: `extensions` and what it points to is read during the call only. Threads: exclusive, on the session. */
IVG_API IVG_MUST_USE ivg_status ivg_sequence_evaluate_batch(const ivg_sequence_extension *extensions,
                                                            size_t count,
                                                            ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_sequence_truncate(): forgets all but the first `length` tokens. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT if it has fewer. Logits are gone until the next evaluate.
 * Threads: exclusive, on the session. */
IVG_API IVG_MUST_USE ivg_status ivg_sequence_truncate(ivg_sequence *sequence, size_t length,
                                                      ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_sequence_length(): how many tokens it holds. Since 0.1.
 * Returns: the number; 0 for an empty one. Threads: const, on the session. */
IVG_API size_t ivg_sequence_length(const ivg_sequence *sequence) IVG_NOEXCEPT;

/* ivg_sequence_logits(): the raw logits after the last evaluated token. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT before any evaluate, and behind a truncate. Ownership: `*logits`,
 * [*count] = [vocabulary_size], is borrowed until the next call on the sequence. Threads: exclusive, on the session. */
IVG_API IVG_MUST_USE ivg_status ivg_sequence_logits(ivg_sequence *sequence,
                                                    const float *IVG_NULLABLE *IVG_NONNULL logits,
                                                    size_t *count,
                                                    ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ---- 12 Scoring ----------------------------------------------------------------------------------------- */

/* Flags of ivg_session_score. Since 0.1. */
enum { IVG_SCORE_ENDED = 1 /* the texts are complete: the scorer sees its own end token after them */ };

/* ivg_session_score(): S of each of `count` texts as answers to `prompt`, by the SCORE parts of `guidance`. Since 0.1.
 *
 * A request under way is dropped. An implicit part gives the summed log-ratio, an explicit one V(x, y).
 * `text_lengths`: bytes of each text. `flags`: IVG_SCORE_ENDED, 0 for none. `scores` [count] is written when all is
 * done.
 * Returns: IVG_OK; INVALID_ARGUMENT if `guidance` has no SCORE part, and as ivg_session_begin; UNSUPPORTED for a flag
 *          that is not known, a vocabulary-only guide, or a hosted one; MISMATCH for a head that does not value its
 *          model's whole vocabulary, or another model's adapter; CONTEXT_FULL, OUT_OF_MEMORY, CANCELLED, CALLBACK;
 *          CORRUPT_FILE for weights that give values which are not numbers.
 * Ownership: keeps nothing. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_session_score(ivg_session *session, const ivg_guidance *guidance,
                                                  const char *prompt, size_t prompt_length,
                                                  const char *IVG_NONNULL const *IVG_NONNULL texts,
                                                  const size_t *text_lengths, size_t count, uint32_t flags,
                                                  double *scores,
                                                  ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ---- 13 Hosted models ----------------------------------------------------------------------------------- */

/* One row that a hosted model is asked about: all its tokens so far, and where its logits go. Fixed for ever: arrays of
 * it have no struct_size. Since 0.1. */
typedef struct ivg_hosted_row {
  const int32_t *tokens;  /* [token_count] prompt and generated tokens */
  size_t token_count;     /* at least 1 */
  float *logits;          /* [vocabulary_size], to be written: raw logits of the next token */
} ivg_hosted_row;

/* The host's own model: fills in the logits of `count` rows. Returns 0, or non-zero to fail the running call with
 * IVG_ERROR_CALLBACK, as logits that are not numbers do. What it is given is borrowed for the call. Must not unwind,
 * nor call back into that session but for ivg_session_cancel. Since 0.1.
 * Threads: runs on the thread that called into the session; for sessions on several threads at once if they share the
 * model. */
typedef int32_t (*ivg_hosted_logits_fn)(void *IVG_NULLABLE user_data, const ivg_hosted_row *rows, size_t count,
                                        size_t vocabulary_size);

/* A model of the host's own. Since 0.1. */
typedef struct ivg_hosted_options {
  uint32_t struct_size;    /* sizeof(ivg_hosted_options)          */
  uint32_t context_length; /* tokens a row may hold; 0: 4096      */
  ivg_hosted_logits_fn IVG_NULLABLE logits; /* required           */
  void *IVG_NULLABLE user_data; /* handed to the callbacks; NULL: they get NULL */
  void (*IVG_NULLABLE finalizer)(void *IVG_NULLABLE user_data); /* called when the last user is gone, on the thread that
                                                                   freed it; NULL: none */
} ivg_hosted_options;

/* ivg_hosted_options_init(): fills `options` with the defaults, and its struct_size. Since 0.1. Threads: any. */
IVG_API void ivg_hosted_options_init(ivg_hosted_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_model_create_hosted(): a model whose logits the host computes, to be steered like any other. Since 0.1.
 *
 * `vocabulary` gives the tokenizer: a model file with the same vocabulary, or a vocabulary-only one. Usable as a
 * session's base and as a tuned or untuned guide; not for adapters, value heads and sequences.
 * Returns: IVG_OK; INVALID_ARGUMENT if `logits` is NULL.
 * Ownership: free `*out`; keeps `vocabulary` alive, and `user_data`, which must live until the finalizer is called:
 * when the model and all that uses it are gone. On an error the finalizer is not called. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_model_create_hosted(ivg_model *IVG_NULLABLE *IVG_NONNULL out,
                                                        const ivg_model *vocabulary,
                                                        const ivg_hosted_options *options,
                                                        ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ---- 14 Training ---------------------------------------------------------------------------------------- */

/* Trains what guided decoding needs - adapters and value heads - on the CPU, over the mapped weights of a model, which
 * stay as they are. Training is pulled like generating: each ivg_trainer_next is one step.
 *
 *     ivg_trainer_options options = {.struct_size = sizeof options};
 *     ivg_trainer_report report = {.struct_size = sizeof report};
 *     options.objective = IVG_OBJECTIVE_PREFERENCE; options.data_path = "pairs.jsonl"; options.learning_rate = 5e-4f;
 *     status = ivg_trainer_create(&trainer, model, &options, &error);
 *     while (status == IVG_OK && (status = ivg_trainer_next(trainer, &report, &error)) == IVG_OK)
 *       printf("%llu %f\n", (unsigned long long)report.step, report.loss);
 *     if (status == IVG_DONE) status = ivg_trainer_save(trainer, "tuned.gguf", &error);
 *     ivg_trainer_free(trainer);
 *
 * Data is JSON Lines in the layouts of TRL: {"prompt", "chosen", "rejected"}; {"prompt", "completion", "reward"};
 * {"messages"}; prompts and completions may be lists of messages where the model's chat template is a known one. Every
 * line is checked before the first step. What cannot be used is left out and listed, see ivg_trainer_problem.
 *
 * Same file, data, options and seed give the same bits, for any thread count, and whether or not a run was interrupted
 * and resumed from its checkpoint. Since 0.1.
 * Threads: one call at a time on it, on any thread; ivg_trainer_cancel at any time. */
typedef struct ivg_trainer ivg_trainer;

/* What is minimised. Since 0.1. */
enum {
  IVG_OBJECTIVE_SUPERVISED = 1, /* -log p of each completion token; the result is an adapter                          */
  IVG_OBJECTIVE_PREFERENCE = 2, /* chosen over rejected, relative to what it starts from (DPO); an adapter         */
  IVG_OBJECTIVE_REWARD = 3,     /* a scalar head on the last token, chosen over rejected (Bradley-Terry)              */
  IVG_OBJECTIVE_VALUE = 4       /* a head that values every prefix, from the reward of the whole (FUDGE, CD-Q)        */
};

/* Variants of an objective. Since 0.1. */
enum {
  IVG_LOSS_DEFAULT = 0,    /* the objective's first: SIGMOID of PREFERENCE, REGRESSION of VALUE             */
  IVG_LOSS_SIGMOID = 1,    /* PREFERENCE: DPO; with label_smoothing the conservative variant                */
  IVG_LOSS_ROBUST = 2,     /* PREFERENCE: unbiased under label_smoothing's share of wrong labels            */
  IVG_LOSS_IPO = 3,        /* PREFERENCE: (log-ratio a token - 1 / (2 beta))^2                              */
  IVG_LOSS_REGRESSION = 4, /* VALUE: half the squared distance of every prefix to the reward (FUDGE)        */
  IVG_LOSS_CLASSIFY = 5,   /* VALUE: cross-entropy of every prefix with the reward, which is within 0 ... 1 */
  IVG_LOSS_CDQ = 6         /* VALUE: the expected value of the next token; the reward at the end (CD-Q)     */
};

/* Projections that an adapter changes. Since 0.1. */
enum {
  IVG_PROJECTION_QUERY = 1,  /* of attention: queries                */
  IVG_PROJECTION_KEY = 2,    /* ... keys                             */
  IVG_PROJECTION_VALUE = 4,  /* ... values                           */
  IVG_PROJECTION_OUTPUT = 8, /* ... and what it gives                */
  IVG_PROJECTION_GATE = 16,  /* of the feed-forward layer: its gate  */
  IVG_PROJECTION_UP = 32,    /* ... into its width                   */
  IVG_PROJECTION_DOWN = 64   /* ... and out of it                    */
};

/* Flags of a trainer. Since 0.1. */
enum {
  IVG_TRAINER_HEAD_ONLY = 1,     /* REWARD, VALUE: no adapter; hidden states are computed once, and kept in a file
                                    without a name (2 bytes a number) beside the checkpoint, else where TMPDIR says */
  IVG_TRAINER_NO_END_TOKEN = 2,  /* completions are not followed by the end token: they may have gone on      */
  IVG_TRAINER_STRICT = 4,        /* a line that cannot be used is an error                                    */
  IVG_TRAINER_VOCABULARY_HEAD = 8, /* VALUE: a head with an output for every token instead of one             */
  IVG_TRAINER_CONSTANT_RATE = 16 /* the learning rate stays after its warm-up, instead of a cosine down to 0  */
};

/* What is trained, on what, and how. What an option's value must lie within, the message of an error says.
 * Since 0.1. */
typedef struct ivg_trainer_options {
  uint32_t struct_size;                         /* sizeof(ivg_trainer_options)                                        */
  uint32_t objective;                           /* IVG_OBJECTIVE_..., required                                        */
  uint32_t loss;                                /* IVG_LOSS_...; 0: the objective's first                             */
  uint32_t flags;                               /* IVG_TRAINER_...; 0: none                                           */
  const char *IVG_NULLABLE data_path;           /* JSON Lines, required                                               */
  const char *IVG_NULLABLE evaluation_path;     /* JSON Lines; NULL: evaluation_fraction of the data                  */
  const char *IVG_NULLABLE start_path;          /* an adapter, or a value head, to begin with; NULL: the model itself */
  const char *IVG_NULLABLE checkpoint_path;     /* written while training, resumed from if it is there; NULL: none    */
  const char *IVG_NULLABLE prompt_template;     /* text with {prompt}; NULL: the bare prompt                          */
  double evaluation_fraction;                   /* share of the data that is not trained on; 0: none                  */
  double epochs;                                /* 0: 1                                                               */
  uint64_t max_steps;                           /* 0: as epochs say                                                   */
  uint64_t seed;                                /* 0: a seed like any other                                           */
  uint64_t memory_budget;                       /* bytes beside the mapped file; 0: 1 GiB                             */
  uint32_t thread_count;                        /* at most 1024; 0: the processors this process may use               */
  uint32_t batch_size;                          /* lines a step, at most 4096; 0: 16                                  */
  uint32_t max_tokens;                          /* of prompt and completion; 0: 512, or the context if that is less   */
  uint32_t max_prompt_tokens;                   /* longer prompts lose their beginning; 0: half of max_tokens         */
  uint32_t rank;                                /* of a new adapter, at most 256; 0: 8                                */
  uint32_t projections;                         /* IVG_PROJECTION_... of a new adapter; 0: all                        */
  float alpha;                                  /* of a new adapter, whose scale is alpha / rank; 0: twice the rank   */
  float dropout;                                /* before the low-rank product, at most 0.9; 0: none                  */
  float learning_rate;                          /* 0: 5e-4 with an adapter, 1e-3 for a head alone                     */
  float warmup_fraction;                        /* of all steps; 0: 0.1; negative: none                               */
  float weight_decay;                           /* of AdamW; 0: none                                                  */
  float beta1;                                  /* AdamW; 0: 0.9                                                      */
  float beta2;                                  /* AdamW; 0: 0.999                                                    */
  float clip_norm;                              /* of the gradient; 0: 1; negative: none                              */
  float beta;                                   /* PREFERENCE; 0: 0.1                                                 */
  float label_smoothing;                        /* PREFERENCE, at most 0.499; 0: none                                 */
  uint32_t evaluate_every;                      /* steps; 0: at the end of each epoch                                 */
  uint32_t patience;                            /* evaluations without a better loss before it ends; 0: never         */
  uint32_t checkpoint_every;                    /* steps; 0: 50                                                       */
  uint32_t reserved;                            /* must be 0                                                          */
} ivg_trainer_options;

/* What one ivg_trainer_next has done. Since 0.1. */
enum {
  IVG_REPORT_PREPARE = 1,  /* computed reference log-probabilities, or hidden states, of some lines */
  IVG_REPORT_TRAIN = 2,    /* one step of the optimiser                                             */
  IVG_REPORT_EVALUATE = 3  /* the whole evaluation split                                            */
};

/* How a run stands. Figures that an objective does not have are NaN. `struct_size` is set by the caller before the
 * first call. Since 0.1. */
typedef struct ivg_trainer_report {
  uint32_t struct_size;      /* sizeof(ivg_trainer_report)                                                      */
  uint32_t kind;             /* IVG_REPORT_...                                                                  */
  uint64_t step;             /* steps of the optimiser so far                                                   */
  uint64_t step_count;       /* of the whole run                                                                */
  uint64_t done;             /* of the phase at hand: lines prepared, steps made, lines evaluated               */
  uint64_t total;            /* what `done` reaches                                                             */
  uint64_t token_count;      /* tokens that went through the model in this call                                 */
  double seconds;            /* this call took                                                                  */
  double tokens_per_second;  /* token_count / seconds                                                           */
  double epoch;              /* passes over the data so far                                                     */
  double loss;               /* TRAIN: mean of this step's; EVALUATE: of the whole split                        */
  double learning_rate;      /* of this step                                                                    */
  double gradient_norm;      /* before clipping                                                                 */
  double accuracy;           /* share of pairs in which chosen is above rejected; EVALUATE of VALUE: share of pairs of
                                lines, as they follow each other, whose values are ordered as their rewards     */
  double margin;             /* mean distance of chosen above rejected: beta times log-ratio, or reward         */
  double chosen;             /* mean of the same for chosen                                                     */
  double rejected;           /* ... for rejected                                                                */
  double kl;                 /* EVALUATE of SUPERVISED and PREFERENCE: KL divergence from the model it starts from,
                                mean over completion tokens                                                     */
  double correlation;        /* EVALUATE of VALUE: between the last prefix's value and the reward               */
} ivg_trainer_report;

/* ivg_trainer_options_init(): fills `options` with the defaults, and its struct_size; what is required stays to be set.
 * Since 0.1. Threads: any. */
IVG_API void ivg_trainer_options_init(ivg_trainer_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_trainer_create(): opens and checks the data, takes the memory, resumes from a checkpoint. Since 0.1.
 *
 * Reads and tokenises the data once, for which it takes time, and cannot be cancelled. A checkpoint must be of the same
 * model, data and options (but for thread_count, memory_budget and checkpoint_every).
 * Returns: IVG_OK; INVALID_ARGUMENT for an option out of its range, or data without a usable line, of which the message
 *          names the first; NOT_FOUND (of the checkpoint: its folder), IO, CORRUPT_FILE; UNSUPPORTED for a flag
 *          that is not known, a hosted or vocabulary-only model, or one whose training is not known; MISMATCH for a
 *          start file of another model or kind, a checkpoint of another run, or data that changes while it is read;
 *          OUT_OF_MEMORY naming bytes needed and budget.
 * Ownership: free `*out`; keeps `model` alive. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_trainer_create(ivg_trainer *IVG_NULLABLE *IVG_NONNULL out,
                                                   const ivg_model *model, const ivg_trainer_options *options,
                                                   ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_trainer_free(): frees the trainer; NULL is fine. What was not saved is lost, but for the checkpoint. Since 0.1.
 * Ownership: takes `trainer`; strings borrowed from it are gone. Threads: exclusive; nor may an ivg_trainer_cancel
 * run. */
IVG_API void ivg_trainer_free(ivg_trainer *IVG_NULLABLE trainer) IVG_NOEXCEPT;

/* ivg_trainer_next(): does the next piece of work: some lines of preparation, one step, or one evaluation. Since 0.1.
 *
 * Returns: IVG_OK and fills `report`; IVG_DONE when training has ended (and ever after); CANCELLED, after which the
 *          call may be repeated and does that piece again; IO or NOT_FOUND if data or checkpoint could not be read or
 *          written (a full disk leaves the last good checkpoint; the call may be repeated); MISMATCH if the data has
 *          changed; INVALID_ARGUMENT if the gradient is not finite; OUT_OF_MEMORY. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_trainer_next(ivg_trainer *trainer, ivg_trainer_report *report,
                                                 ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_trainer_cancel(): makes the running, or else the next, ivg_trainer_next return IVG_ERROR_CANCELLED. Since 0.1.
 *
 * One atomic store: async-signal-safe, waits for nothing, never fails.
 * Threads: any, and in signal handlers: from the return of ivg_trainer_create until ivg_trainer_free is called. */
IVG_API void ivg_trainer_cancel(ivg_trainer *trainer) IVG_NOEXCEPT;

/* ivg_trainer_save(): writes the adapter or value head as it is now. Since 0.1.
 *
 * With an evaluation split and `patience`, after the end: as it was at its best evaluation. The file is an ordinary
 * GGUF adapter or value head, in half precision. It appears complete, or not at all.
 * Returns: IVG_OK; NOT_FOUND for a folder that does not exist; IO. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_trainer_save(ivg_trainer *trainer, const char *path,
                                                 ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_trainer_checkpoint(): writes the checkpoint now. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT without a checkpoint_path; NOT_FOUND if its folder is gone; IO.
 * Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_trainer_checkpoint(ivg_trainer *trainer,
                                                       ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* A line that cannot be used. `struct_size` is set by the caller before the first call. Since 0.1. */
typedef struct ivg_trainer_problem_info {
  uint32_t struct_size;            /* sizeof(ivg_trainer_problem_info)         */
  uint32_t is_evaluation;          /* 1: in evaluation_path; 0: in data_path   */
  uint64_t line;                   /* 1 is the first                           */
  const char *IVG_NULLABLE reason; /* one sentence for a person                */
} ivg_trainer_problem_info;

/* ivg_trainer_problem_count(): how many lines were left out. The first 1000 of each file are described. Since 0.1.
 * Returns: the number; 0 for none. Threads: const. */
IVG_API uint64_t ivg_trainer_problem_count(const ivg_trainer *trainer) IVG_NOEXCEPT;

/* ivg_trainer_problem(): describes a line that was left out. Since 0.1.
 * Returns: IVG_OK; INVALID_ARGUMENT past the last one that is described. Ownership: `reason` is borrowed until
 * ivg_trainer_free. Threads: const. */
IVG_API IVG_MUST_USE ivg_status ivg_trainer_problem(const ivg_trainer *trainer, uint64_t index,
                                                    ivg_trainer_problem_info *problem,
                                                    ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* What a trainer trains with. `struct_size` is set by the caller before the call. Since 0.1. */
typedef struct ivg_trainer_info {
  uint32_t struct_size;        /* sizeof(ivg_trainer_info)                                                 */
  uint32_t kept_layers;        /* whose activations stay in memory; those of the others are computed twice */
  uint64_t example_count;      /* usable lines that are trained on                                         */
  uint64_t evaluation_count;   /* usable lines that are evaluated                                          */
  uint64_t parameter_count;    /* trained numbers                                                          */
  uint64_t step_count;         /* of the whole run                                                         */
  uint64_t resumed_step;       /* steps that a checkpoint brought along                                    */
  uint64_t memory;             /* bytes beside the mapped file                                             */
} ivg_trainer_info;

/* ivg_trainer_describe(): fills `info`; leaves it as it is if its struct_size cannot be. Since 0.1. Threads: const. */
IVG_API void ivg_trainer_describe(const ivg_trainer *trainer, ivg_trainer_info *info) IVG_NOEXCEPT;

/* ---- 15 Quantising -------------------------------------------------------------------------------------- */

/* Writes a model anew with fewer bits for its weights, one piece after the other:
 *
 *     ivg_quantize_options options = {.struct_size = sizeof options, .type = "Q4_K_M"};
 *     ivg_quantize_report report = {.struct_size = sizeof report};
 *     status = ivg_quantizer_create(&quantizer, "model.F16.gguf", "model.Q4_K_M.gguf", &options, &error);
 *     while (status == IVG_OK && (status = ivg_quantizer_next(quantizer, &report, &error)) == IVG_OK)
 *       printf("%s %.0f %%\n", report.tensor, 100.0 * report.done / report.total);
 *     ivg_quantizer_free(quantizer);
 *
 * A type is a mix, as llama.cpp names it: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K_S, Q3_K_M, Q3_K_L,
 * Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K. It says which type each matrix gets; vectors and small matrices that matter
 * much stay as they are. Where a row is no multiple of 256, a K type gives way to Q4_0 (Q2_K, Q3_K), Q5_0, Q5_1 or
 * Q8_0, and where it is no multiple of 32, to F16. A matrix that has its type already is copied.
 *
 * Same source, options and weights give the same bytes, for any thread count and on every CPU. Since 0.1.
 * Threads: one call at a time on it, on any thread; ivg_quantizer_cancel at any time. */
typedef struct ivg_quantizer ivg_quantizer;

/* Flags of a quantizer. Since 0.1. */
enum {
  IVG_QUANTIZE_PURE = 1 /* every matrix gets the type that the mix has for most, where its rows allow it */
};

/* How a model is quantised. Since 0.1. */
typedef struct ivg_quantize_options {
  uint32_t struct_size;                      /* sizeof(ivg_quantize_options)                                          */
  uint32_t flags;                            /* IVG_QUANTIZE_...; 0: none                                             */
  uint32_t thread_count;                     /* at most 1024; 0: the processors this process may use                  */
  uint32_t reserved;                         /* must be 0                                                             */
  const char *IVG_NULLABLE type;             /* the mix, "Q4_K_M"; required                                           */
  const char *IVG_NULLABLE output_type;      /* of the output matrix, embedding or not; NULL: as the mix says         */
  const char *IVG_NULLABLE embedding_type;   /* of the token embedding; NULL: as the mix says                         */
  const char *IVG_NULLABLE importance_path;  /* importance weights as llama.cpp writes them ("imatrix"); NULL: none   */
  uint64_t memory_budget;                    /* bytes beside the mapped files; 0: 1 GiB                               */
} ivg_quantize_options;

/* What one ivg_quantizer_next has done. `struct_size` is set by the caller before the first call. Since 0.1. */
typedef struct ivg_quantize_report {
  uint32_t struct_size;                 /* sizeof(ivg_quantize_report)                                     */
  uint32_t ends_tensor;                 /* 1: this was the tensor's last piece                             */
  uint64_t tensor_index;                /* in file order                                                   */
  uint64_t tensor_count;                /* of the source, and of the target                                */
  const char *IVG_NULLABLE tensor;      /* its name                                                        */
  const char *IVG_NULLABLE source_type; /* "F16"                                                           */
  const char *IVG_NULLABLE target_type; /* "Q4_K"                                                          */
  uint64_t done;                        /* bytes of the source's tensors so far                            */
  uint64_t total;                       /* what `done` reaches                                             */
  uint64_t size_in;                     /* bytes of all tensors in the source                              */
  uint64_t size_out;                    /* ... in the target, when it is complete                          */
  double error;                         /* root mean square of what rounding changed in this tensor so far, divided by
                                           that of its weights; 0 where they were copied                   */
  double seconds;                       /* this call took                                                  */
} ivg_quantize_report;

/* ivg_quantize_options_init(): fills `options` with the defaults, and its struct_size; what is required stays to be
 * set. Since 0.1. Threads: any. */
IVG_API void ivg_quantize_options_init(ivg_quantize_options *options, uint32_t struct_size) IVG_NOEXCEPT;

/* ivg_quantizer_create(): opens and checks the files, and begins the target under a temporary name beside it.
 * Since 0.1.
 *
 * `target_path` may exist; it is replaced in one step when the new file is complete, and untouched before.
 * Returns: IVG_OK; INVALID_ARGUMENT for an unknown type, or a target that is a file which is read, by whatever name;
 *          MISMATCH for a source that is no whole model (an adapter, a value head, one part of several), or weights of
 *          another model; NOT_FOUND (of the target: its folder), IO, CORRUPT_FILE; UNSUPPORTED for a flag or a type of
 *          tensor that is not known; OUT_OF_MEMORY naming bytes needed and budget.
 * Ownership: free `*out`. Threads: any. */
IVG_API IVG_MUST_USE ivg_status ivg_quantizer_create(ivg_quantizer *IVG_NULLABLE *IVG_NONNULL out,
                                                     const char *source_path, const char *target_path,
                                                     const ivg_quantize_options *options,
                                                     ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_quantizer_free(): frees the quantizer; NULL is fine. A file that is not complete disappears. Since 0.1.
 * Ownership: takes `quantizer`; strings borrowed from it are gone. Threads: exclusive; nor may an ivg_quantizer_cancel
 * run. */
IVG_API void ivg_quantizer_free(ivg_quantizer *IVG_NULLABLE quantizer) IVG_NOEXCEPT;

/* ivg_quantizer_next(): does the next piece, some milliseconds of work. Since 0.1.
 *
 * Returns: IVG_OK and fills `report`; IVG_DONE when the file is complete under its name, and ever after; CANCELLED,
 *          after which the call may be repeated and does that piece again; INVALID_ARGUMENT for a weight that is not
 *          finite, or too large for its new type; IO (a full disk). After any other error than CANCELLED the unfinished
 *          file is gone, and further calls return the same.
 * Ownership: strings of the report are borrowed until ivg_quantizer_free. Threads: exclusive. */
IVG_API IVG_MUST_USE ivg_status ivg_quantizer_next(ivg_quantizer *quantizer, ivg_quantize_report *report,
                                                   ivg_error *IVG_NULLABLE *IVG_NULLABLE error) IVG_NOEXCEPT;

/* ivg_quantizer_cancel(): makes the running, or else the next, ivg_quantizer_next return IVG_ERROR_CANCELLED.
 * Since 0.1.
 *
 * One atomic store: async-signal-safe, waits for nothing, never fails.
 * Threads: any, and in signal handlers: from the return of ivg_quantizer_create until ivg_quantizer_free is called. */
IVG_API void ivg_quantizer_cancel(ivg_quantizer *quantizer) IVG_NOEXCEPT;


#ifdef __cplusplus
}
#endif

#if defined(__clang__)
#  pragma clang assume_nonnull end
#  pragma clang diagnostic pop
#endif
#endif /* IVG_H */
