// SPDX-License-Identifier: Apache-2.0
//
// ivg.hpp - libivg for C++17: owners, exceptions and a range, over ivg.h, which stays the manual.
//
//     const ivg::model model("model.gguf");
//     ivg::session session(model);
//     for (const ivg::step &step : session.generate("Once upon a time")) std::cout << step.view() << std::flush;
//
// Owners.    Each owns one handle and is move-only. get() lends it to the functions of ivg.h (null once it was moved from
//            or released), release() gives it up. Owners may go in any order. Using an empty one is an ivg::error.
// Errors.    Every negative status becomes an ivg::error. IVG_DONE is the end of a range.
// Options.   ivg::generate_options and its like are the structs of ivg.h with struct_size set and all else at its default;
//            strings in them are C strings. Flags and constants are those of ivg.h.
// Callbacks. An exception that leaves a callback ends the running call, which throws it again.
// Threads.   As in ivg.h: const members may run at the same time, others need the object for themselves; cancel() is free.
// The rest.  What has no class here is called with the same errors and owners:
//                ivg::trainer trainer(ivg::create<ivg_trainer>(ivg_trainer_create, model.get(), &options));
//                while (ivg::call(ivg_trainer_next, trainer.get(), &report) == IVG_OK) std::cout << report.loss << '\n';
#ifndef IVG_HPP
#define IVG_HPP
#include <ivg.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ivg {
/// What a failed call throws: its status, and as what() one sentence for a person.
class error : public std::runtime_error {
 public:
  error(ivg_status status, const char *message) : std::runtime_error(message), status_(status) {}
  ivg_status status() const noexcept { return status_; }
 private:
  ivg_status status_;
};

/// What a callback threw on this thread, until the call that ran it passes it on.
namespace detail { inline thread_local std::exception_ptr thrown; }

/// The body of a callback, from which nothing may unwind into the library: runs it, keeps what it throws for the call()
/// under way, and returns what the callback has to.
template <class Body>
std::int32_t guarded(const Body &body) noexcept {
  try {
    body();
    return 0;
  } catch (...) {
    detail::thrown = std::current_exception();
    return 1;
  }
}

/// Calls a function of ivg.h with all its arguments but the last, the error. Throws what it reports, or what a callback
/// threw; returns IVG_OK or IVG_DONE.
template <class Function, class... Arguments>
ivg_status call(Function function, Arguments... arguments) {
  ivg_error *reported = nullptr;
  detail::thrown = nullptr;
  const ivg_status status = function(arguments..., &reported);
  if (status >= 0) return status;
  const std::unique_ptr<ivg_error, void (*)(ivg_error *)> owned(reported, [](ivg_error *it) { ivg_error_free(it); });
  if (status == IVG_ERROR_CALLBACK && detail::thrown) std::rethrow_exception(std::exchange(detail::thrown, nullptr));
  throw error(status, reported ? ivg_error_message(reported) : ivg_status_string(status));
}

/// call() for a function that opens or creates; returns the handle, which the caller is to own.
template <class Handle, class Function, class... Arguments>
Handle *create(Function function, Arguments... arguments) {
  Handle *handle = nullptr;
  call(function, &handle, arguments...);
  return handle;
}

namespace detail {
/// What a function writes that takes a buffer and says what it needs; `spare` more elements are for its NUL.
template <class Buffer, class Function>
Buffer filled(std::size_t spare, const Function &fill) {
  Buffer buffer;
  std::size_t needed = 0;
  try {
    fill(buffer.data(), std::size_t{0}, &needed);
  } catch (const error &problem) {
    if (problem.status() != IVG_ERROR_BUFFER_TOO_SMALL) throw;
    buffer.resize(needed + spare);
    fill(buffer.data(), buffer.size(), &needed);
    buffer.resize(needed);
  }
  return buffer;
}

/// The elements of a view or vector: never null, also where there are none.
template <class View>
const typename View::value_type *elements(const View &view) {
  static const typename View::value_type none{};
  return view.empty() ? &none : view.data();
}

/// A struct of ivg.h with struct_size set and all else zero, which is the default.
template <class Struct>
struct sized : Struct {
  sized() noexcept : Struct{} { this->struct_size = sizeof(Struct); }
};

/// ... that brings text, borrowed for as long as its block in ivg.h says.
template <class Struct>
struct with_text : sized<Struct> {
  std::string_view view() const noexcept { return {this->text ? this->text : "", this->text_length}; }
};

/// Owns a handle.
template <class Handle, void (*Free)(Handle *) noexcept>
class owner {
 public:
  explicit owner(Handle *handle) noexcept : handle_(handle) {}
  Handle *get() const noexcept { return handle_.get(); }
  Handle *release() noexcept { return handle_.release(); }
  explicit operator bool() const noexcept { return get() != nullptr; }
  Handle *handle() const {  // get() that is not null
    if (!handle_) throw error(IVG_ERROR_INVALID_ARGUMENT, "this object is empty: it was moved from or released");
    return get();
  }
 private:
  struct freed { void operator()(Handle *handle) const noexcept { Free(handle); } };
  std::unique_ptr<Handle, freed> handle_;
};
}  // namespace detail

using guidance_options = detail::sized<ivg_guidance_options>;
using implicit_options = detail::sized<ivg_implicit_options>;
using explicit_options = detail::sized<ivg_explicit_options>;
using nudging_options = detail::sized<ivg_nudging_options>;
using session_options = detail::sized<ivg_session_options>;
using generate_options = detail::sized<ivg_generate_options>;
using model_info = detail::sized<ivg_model_info>;
using result = detail::sized<ivg_result>;
using timings = detail::sized<ivg_timings>;
using step = detail::with_text<ivg_step>;
using candidate = detail::with_text<ivg_candidate>;
using sequence = detail::owner<ivg_sequence, ivg_sequence_free>;
using trainer = detail::owner<ivg_trainer, ivg_trainer_free>;
using quantizer = detail::owner<ivg_quantizer, ivg_quantizer_free>;
using file = detail::owner<ivg_file, ivg_file_free>;

/// A message of a conversation; the role is "system", "user" or "assistant".
struct chat_message { std::string role, content; };

/// Mapped weights and a tokenizer. Immutable: any number of sessions and threads may share it. Flags are those of ivg.h.
class model : public detail::owner<ivg_model, ivg_model_free> {
 public:
  using owner::owner;
  explicit model(const std::string &path) : owner(create<ivg_model>(ivg_model_open, path.c_str(), nullptr)) {}
  model_info information() const {
    model_info info;
    call(ivg_model_information, handle(), &info);
    return info;
  }
  std::vector<std::int32_t> tokenize(std::string_view text, std::uint32_t flags = 0) const {
    return detail::filled<std::vector<std::int32_t>>(0, [&](auto... buffer) {
      call(ivg_model_tokenize, handle(), detail::elements(text), text.size(), flags, buffer...);
    });
  }
  std::string detokenize(const std::vector<std::int32_t> &tokens, std::uint32_t flags = 0) const {
    return detail::filled<std::string>(0, [&](auto... buffer) {
      call(ivg_model_detokenize, handle(), detail::elements(tokens), tokens.size(), flags, buffer...);
    });
  }
  /// A conversation as the model's own chat template writes it, up to where the answer begins: a prompt.
  std::string render_chat(const std::vector<chat_message> &messages) const {
    std::vector<ivg_chat_message> list;
    for (const chat_message &it : messages) list.push_back({it.role.c_str(), it.content.data(), it.content.size()});
    return detail::filled<std::string>(1, [&](auto... buffer) {
      call(ivg_model_render_chat, handle(), nullptr, std::size_t{0}, detail::elements(list), list.size(),
           std::uint32_t{IVG_CHAT_GENERATION_PROMPT}, buffer...);
    });
  }
};

/// A file for a trunk: an adapter or a value head.
template <class Handle, void (*Free)(Handle *) noexcept, auto Open>
struct part : detail::owner<Handle, Free> {
  using detail::owner<Handle, Free>::owner;
  part(const model &trunk, const std::string &path) : part(create<Handle>(Open, trunk.handle(), path.c_str())) {}
};
using adapter = part<ivg_adapter, ivg_adapter_free, ivg_adapter_open>;
using value_head = part<ivg_value_head, ivg_value_head_free, ivg_value_head_open>;

/// What "better" means and how to search for it. Complete before it is first used.
class guidance : public detail::owner<ivg_guidance, ivg_guidance_free> {
 public:
  using owner::owner;
  explicit guidance(const guidance_options &search = {}) : owner(create<ivg_guidance>(ivg_guidance_create, &search)) {}
  void add(const implicit_options &value, double weight = 1) { call(ivg_guidance_add_implicit, handle(), &value, weight); }
  void add(const explicit_options &value, double weight = 1) { call(ivg_guidance_add_explicit, handle(), &value, weight); }
  void set_nudging(const nudging_options &nudging) { call(ivg_guidance_set_nudging, handle(), &nudging); }
  /// Writes a score for each text; `finished` says of each whether it has ended.
  using scorer = std::function<void(std::string_view prompt, const std::vector<std::string_view> &texts,
                                    const std::int32_t *finished, double *scores)>;
  void add(scorer function, double weight = 1) {
    auto owned = std::make_unique<scorer>(std::move(function));
    detail::sized<ivg_scorer_options> options;
    options.user_data = owned.get();
    options.finalizer = [](void *data) { delete static_cast<scorer *>(data); };
    options.score = [](void *data, const char *prompt, std::size_t length, const char *const *texts,
                       const std::size_t *lengths, const std::int32_t *finished, std::size_t count, double *scores) {
      return guarded([&] {
        std::vector<std::string_view> views;
        for (std::size_t i = 0; i < count; i++) views.emplace_back(texts[i], lengths[i]);
        (*static_cast<scorer *>(data))({prompt, length}, views, finished, scores);
      });
    };
    call(ivg_guidance_add_scorer, handle(), &options, weight);
    static_cast<void>(owned.release());  // from here on the finalizer's
  }
};

/// The steps of a request, an input range: each is computed when an iterator comes to it, and what it points to is valid
/// until the next. Leaving early is fine. It refers to its session, and its iterators to it.
class steps {
 public:
  explicit steps(ivg_session *session) noexcept : session_(session) {}
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = step;
    using difference_type = std::ptrdiff_t;
    using pointer = const step *; using reference = const step &;
    explicit iterator(steps *range = nullptr) noexcept : range_(range) {}
    reference operator*() const noexcept { return range_->step_; }
    pointer operator->() const noexcept { return &range_->step_; }
    iterator &operator++() {
      if (call(ivg_session_next, range_->session_, &range_->step_) == IVG_DONE) range_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(iterator a, iterator b) noexcept { return a.range_ == b.range_; }
    friend bool operator!=(iterator a, iterator b) noexcept { return a.range_ != b.range_; }
   private:
    steps *range_;
  };
  iterator begin() { return ++iterator(this); }
  iterator end() const noexcept { return iterator(); }
 private:
  ivg_session *session_;
  step step_;
};

/// The state of generating, one request at a time.
class session : public detail::owner<ivg_session, ivg_session_free> {
 public:
  using owner::owner;
  explicit session(const model &base, const session_options &options = {})
      : owner(create<ivg_session>(ivg_session_create, base.handle(), &options)) {}
  /// Starts a request and returns its steps. A guidance is kept alive; an empty one is an error, and not none.
  steps generate(std::string_view prompt, const generate_options &options = {}) & { return begin(prompt, options, nullptr); }
  steps generate(std::string_view prompt, const generate_options &options, const guidance &values) & {
    return begin(prompt, options, values.handle());
  }
  /// The remaining steps of the request under way: after cancel(), an exception, or a loop that was left.
  steps resume() & { return steps(handle()); }
  /// Ends the running call, or else the next, with IVG_ERROR_CANCELLED. Any thread, also a signal handler.
  void cancel() noexcept { if (get()) ivg_session_cancel(get()); }
  ivg::result result() const {
    ivg::result about;
    call(ivg_session_result, handle(), &about);
    return about;
  }
  /// Kept row `index`, best first; it is borrowed until the next call on the session.
  ivg::candidate candidate(std::uint32_t index = 0) {
    ivg::candidate row;
    call(ivg_session_candidate, handle(), index, &row);
    return row;
  }
  /// Values texts as answers to a prompt by the SCORE parts of a guidance. flags: IVG_SCORE_...
  std::vector<double> score(const guidance &values, std::string_view prompt, const std::vector<std::string_view> &texts,
                            std::uint32_t flags = 0) {
    std::vector<const char *> starts;
    std::vector<std::size_t> lengths;
    for (const std::string_view &text : texts) starts.push_back(detail::elements(text)), lengths.push_back(text.size());
    std::vector<double> scores(texts.size() + 1);  // so that there is a place for them, also if there are none
    call(ivg_session_score, handle(), values.handle(), detail::elements(prompt), prompt.size(), detail::elements(starts),
         detail::elements(lengths), texts.size(), flags, scores.data());
    scores.pop_back();
    return scores;
  }
 private:
  steps begin(std::string_view prompt, const generate_options &options, const ivg_guidance *values) {
    call(ivg_session_begin, handle(), detail::elements(prompt), prompt.size(), &options, values);
    return resume();
  }
};
}  // namespace ivg
#endif  // IVG_HPP
