// SPDX-License-Identifier: Apache-2.0
//
// test_hpp.cc - ivg.hpp: owners, exceptions, the range, callbacks, threads.
//
//     test_hpp FIXTURES            prints "ok NAME" or "FAIL NAME"; its status is 1 after a FAIL
#include <ivg.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iostream>
#include <numeric>
#include <thread>
#include <type_traits>
#if __cplusplus >= 202002L
#include <ranges>
static_assert(std::input_iterator<ivg::steps::iterator>);
static_assert(std::ranges::input_range<ivg::steps>);
#endif

static_assert(std::is_nothrow_move_constructible_v<ivg::model> && std::is_nothrow_move_assignable_v<ivg::model>);
static_assert(!std::is_copy_constructible_v<ivg::session> && !std::is_copy_assignable_v<ivg::session>);
static_assert(std::is_nothrow_move_constructible_v<ivg::adapter> && std::is_nothrow_move_constructible_v<ivg::guidance>);
static_assert(std::is_base_of_v<std::runtime_error, ivg::error> && noexcept(std::declval<ivg::session &>().cancel()));
static_assert(
    std::is_same_v<std::iterator_traits<ivg::steps::iterator>::iterator_category, std::input_iterator_tag>);

namespace {

std::string fixtures;
bool failed = false;

std::string fixture(const std::string &name) { return fixtures + "/" + name; }

/// One expectation of the test that runs.
void check(bool holds, const char *what, int line) {
  if (holds) return;
  failed = true;
  std::cout << "     line " << line << ": " << what << '\n';
}
#define CHECK(...) check((__VA_ARGS__), #__VA_ARGS__, __LINE__)

/// The status that a piece of code throws; IVG_OK if it does not.
template <class Body>
ivg_status thrown_by(const Body &body) {
  try {
    body();
    return IVG_OK;
  } catch (const ivg::error &problem) {
    CHECK(std::string(problem.what()).size() > 3);
    return problem.status();
  }
}

ivg::generate_options options_of(std::uint32_t max_tokens) {
  ivg::generate_options options;
  options.max_tokens = max_tokens;
  options.seed = 3;
  options.flags = IVG_GENERATE_IGNORE_END;
  return options;
}

std::string text_of(ivg::steps steps) {
  std::string text;
  for (const ivg::step &step : steps) text += step.view();
  return text;
}
std::string text_of(ivg::session &session, const ivg::generate_options &options) {
  return text_of(session.generate("There is", options));
}
std::string text_of(ivg::session &session, const ivg::generate_options &options, const ivg::guidance &guidance) {
  return text_of(session.generate("There is", options, guidance));
}

void owners_move_and_release(const ivg::model &model) {
  ivg::session first(model);
  const std::string whole = text_of(first, options_of(12));
  ivg::steps steps = first.generate("There is", options_of(12));
  std::string text;
  auto step = steps.begin();
  text += step->view();
  ivg::session second = std::move(first);  // its request goes on
  while (++step != steps.end()) text += step->view();
  CHECK(text == whole);
  CHECK(!first && first.get() == nullptr && second);
  CHECK(thrown_by([&] { first.generate("x"); }) == IVG_ERROR_INVALID_ARGUMENT);
  CHECK(thrown_by([&] { first.result(); }) == IVG_ERROR_INVALID_ARGUMENT);
  CHECK(thrown_by([&] { ivg::session(ivg::model(nullptr)); }) == IVG_ERROR_INVALID_ARGUMENT);
  first.cancel();  // of nothing
  first = std::move(second);
  CHECK(text_of(first, options_of(12)) == whole);
  ivg_session *raw = first.release();
  CHECK(raw != nullptr && !first);
  ivg::session again(raw);
  CHECK(text_of(again, options_of(12)) == whole);
}

void owners_go_in_any_order(const ivg::model &) {
  auto model = std::make_unique<ivg::model>(fixture("tiny-llama.gguf"));
  auto adapter = std::make_unique<ivg::adapter>(*model, fixture("tiny-adapter.gguf"));
  ivg::guidance guidance;
  ivg::implicit_options value;
  value.tuned_adapter = adapter->get();
  guidance.add(value, 1);
  ivg::session session(*model);
  adapter.reset();
  model.reset();
  CHECK(!text_of(session, options_of(8), guidance).empty());
}

void an_empty_guidance_is_no_unguided_text(const ivg::model &model) {
  ivg::session session(model);
  ivg::guidance guidance;
  bool scored = false;
  guidance.add([&scored](std::string_view, const std::vector<std::string_view> &texts, const std::int32_t *, double *scores) {
    scored = true;
    std::fill_n(scores, texts.size(), 0);
  });
  ivg::guidance moved = std::move(guidance);
  CHECK(thrown_by([&] { session.generate("There is", options_of(4), guidance); }) == IVG_ERROR_INVALID_ARGUMENT);
  CHECK(thrown_by([&] { session.generate("There is", {}, ivg::guidance(nullptr)); }) == IVG_ERROR_INVALID_ARGUMENT);
  CHECK(thrown_by([&] { session.resume().begin(); }) == IVG_ERROR_INVALID_ARGUMENT);  // nothing was begun
  CHECK(!text_of(session, options_of(4), moved).empty() && scored);
  ivg_guidance_free(moved.release());
  CHECK(thrown_by([&] { session.generate("There is", options_of(4), moved); }) == IVG_ERROR_INVALID_ARGUMENT);
}

void errors_have_status_and_message(const ivg::model &model) {
  try {
    ivg::model missing("/no/such/model.gguf");
    CHECK(false);
  } catch (const std::exception &problem) {
    CHECK(std::string(problem.what()).find("/no/such/model.gguf") != std::string::npos);
  }
  CHECK(thrown_by([&] { ivg::model(fixture("no-such.gguf")); }) == IVG_ERROR_NOT_FOUND);
  CHECK(thrown_by([&] { ivg::model(fixture("README.md")); }) == IVG_ERROR_CORRUPT_FILE);
  const ivg::model other(fixture("tiny-other-vocabulary.gguf"));
  CHECK(thrown_by([&] { ivg::adapter(other, fixture("tiny-adapter.gguf")); }) == IVG_ERROR_MISMATCH);
  ivg::session session(model);
  CHECK(thrown_by([&] { session.generate("x", options_of(100000)); }) == IVG_ERROR_CONTEXT_FULL);
  CHECK(thrown_by([&] { session.candidate(7); }) == IVG_ERROR_INVALID_ARGUMENT);
  ivg::generate_options wrong;
  wrong.temperature = std::nanf("");
  CHECK(thrown_by([&] { session.generate("x", wrong); }) == IVG_ERROR_INVALID_ARGUMENT);
}

void a_range_is_the_text(const ivg::model &model) {
  ivg::session session(model);
  const std::string whole = text_of(session, options_of(20));
  CHECK(whole == session.candidate().view() && session.result().token_count == 20);

  ivg::steps counted = session.generate("There is", options_of(20));
  CHECK(std::count_if(counted.begin(), counted.end(), [](const ivg::step &step) { return step.token >= 0; }) == 20);
  ivg::steps folded = session.generate("There is", options_of(20));
  CHECK(whole == std::accumulate(folded.begin(), folded.end(), std::string(), [](std::string text, const ivg::step &step) {
          return std::move(text.append(step.view()));
        }));
  CHECK(folded.begin() == folded.end());  // and stays at its end
#if __cplusplus >= 202002L
  CHECK(std::ranges::count_if(session.generate("There is", options_of(20)),
                              [](const ivg::step &step) { return step.finish_reason != IVG_FINISH_NONE; }) == 1);
#endif
}

void a_loop_may_be_left(const ivg::model &model) {
  ivg::session session(model);
  const std::string whole = text_of(session, options_of(20));
  std::string text;
  int count = 0;
  for (const ivg::step &step : session.generate("There is", options_of(20))) {
    text += step.view();
    if (++count == 5) break;
  }
  for (const ivg::step &step : session.resume()) text += step.view(), count++;
  CHECK(text == whole && count == 20);
  for (const ivg::step &step : session.generate("There is", options_of(20)))
    if (step.token >= 0) break;
  CHECK(text_of(session, options_of(20)) == whole);  // what was left is dropped
}

void cancel_comes_from_another_thread(const ivg::model &model) {
  ivg::session session(model);
  const std::string whole = text_of(session, options_of(200));
  std::atomic<int> seen = 0, sent = 0;
  std::atomic<bool> over = false;
  std::thread other([&] {
    for (int last = 0; !over; last = seen) {
      while (seen == last && !over) std::this_thread::yield();  // for a step since the last
      session.cancel();
      sent++;
    }
  });
  std::string text;
  int cancelled = 0;
  session.generate("There is", options_of(200));
  for (bool done = false; !done;) {
    try {
      for (const ivg::step &step : session.resume()) {
        text += step.view();
        seen++;
        while (sent == 0) std::this_thread::yield();  // one at least
      }
      done = true;
    } catch (const ivg::error &problem) {
      CHECK(problem.status() == IVG_ERROR_CANCELLED);
      cancelled++;
    }
  }
  over = true;
  other.join();
  CHECK(text == whole && cancelled > 0);
  session.cancel();  // the next call, whatever came of the thread's last
  CHECK(thrown_by([&] { session.generate("There is", options_of(2)).begin(); }) == IVG_ERROR_CANCELLED);
  CHECK(!session.resume().begin()->view().empty());
}

struct refusal {
  int reason;
};

void exceptions_leave_callbacks(const ivg::model &model) {
  ivg::session session(model);
  auto owned = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = owned;
  {
    ivg::guidance_options search;
    search.successors = 3;
    search.chunk = 4;
    ivg::guidance guidance(search);
    bool refuses = true;
    guidance.add([owned, &refuses](std::string_view prompt, const std::vector<std::string_view> &texts,
                                   const std::int32_t *finished, double *scores) {
      CHECK(prompt == "There is" && !texts.empty());
      if (refuses) throw refusal{42};
      for (std::size_t i = 0; i < texts.size(); i++) scores[i] = static_cast<double>(texts[i].size()) + finished[i];
    });
    owned.reset();
    const auto reason_of = [](const auto &body) {
      try {
        body();
        return 0;
      } catch (const refusal &it) {
        return it.reason;
      }
    };
    CHECK(reason_of([&] { text_of(session, options_of(12), guidance); }) == 42);
    CHECK(reason_of([&] { session.score(guidance, "There is", {"one", "two"}); }) == 42);
    CHECK(thrown_by([&] { session.candidate(99); }) == IVG_ERROR_INVALID_ARGUMENT);  // not thrown again
    refuses = false;
    CHECK(session.score(guidance, "There is", {"one", "three"}) == std::vector<double>{3, 5});
    CHECK(!text_of(session, options_of(12), guidance).empty());
    CHECK(!watched.expired());
    CHECK(thrown_by([&] { guidance.add(ivg::guidance::scorer(), std::nan("")); }) == IVG_ERROR_INVALID_ARGUMENT);
  }
  text_of(session, options_of(2));  // the session keeps a guidance no longer than its request
  CHECK(watched.expired());

  ivg::generate_options options = options_of(4);  // a callback of ivg.h
  options.logits_processor = [](void *, std::uint32_t, const std::int32_t *, std::size_t, float *, std::size_t) {
    return ivg::guarded([] { throw std::out_of_range("mine"); });
  };
  try {
    text_of(session, options);
    CHECK(false);
  } catch (const std::out_of_range &problem) {
    CHECK(std::string(problem.what()) == "mine");
  }
  options.logits_processor = [](void *, std::uint32_t, const std::int32_t *, std::size_t, float *, std::size_t) {
    return std::int32_t{1};
  };
  CHECK(thrown_by([&] { text_of(session, options); }) == IVG_ERROR_CALLBACK);
}

void sessions_share_a_model(const ivg::model &model) {
  ivg::session alone(model);
  const std::string expected = text_of(alone, options_of(100));
  std::string texts[2];
  std::vector<std::thread> threads;
  for (std::string &text : texts)
    threads.emplace_back([&model, &text] {
      ivg::session session(model);
      text = text_of(session, options_of(100));
    });
  for (std::thread &thread : threads) thread.join();
  CHECK(texts[0] == expected && texts[1] == expected);
}

void texts_and_tokens(const ivg::model &model) {
  const std::string text = "There is no \xe2\x82\xac in it";
  CHECK(model.detokenize(model.tokenize(text)) == text);
  CHECK(model.tokenize({}).empty() && model.detokenize({}).empty() && model.tokenize("").empty());
  CHECK(model.information().vocabulary_size == 320);
  CHECK(thrown_by([&] { model.detokenize({-5}); }) == IVG_ERROR_INVALID_ARGUMENT);
  const std::string prompt = model.render_chat({{"system", "Be kind."}, {"user", "Hello"}});
  CHECK(prompt.find("Be kind.") < prompt.find("Hello") && prompt.find("assistant") > prompt.find("Hello"));
  CHECK(thrown_by([&] { model.render_chat({}); }) == IVG_ERROR_INVALID_ARGUMENT);
  CHECK(thrown_by([&] { model.render_chat({{"wizard", "Hello"}}); }) == IVG_ERROR_INVALID_ARGUMENT);
  ivg::session session(model);
  ivg::guidance guidance;
  ivg::implicit_options value;
  value.role = IVG_ROLE_SCORE;
  value.tuned_template = "Well. {prompt}";
  guidance.add(value);
  CHECK(session.score(guidance, {}, {"a", {}}).size() == 2);
  CHECK(thrown_by([&] { session.score(ivg::guidance(nullptr), "x", {"a"}); }) == IVG_ERROR_INVALID_ARGUMENT);
}

void what_has_no_class_is_called(const ivg::model &model) {
  ivg::session session(model);
  ivg::sequence sequence(ivg::create<ivg_sequence>(ivg_sequence_create, session.get(), nullptr));
  const std::vector<std::int32_t> tokens = model.tokenize("There is");
  CHECK(ivg::call(ivg_sequence_evaluate, sequence.get(), tokens.data(), tokens.size()) == IVG_OK);
  const float *logits = nullptr;
  std::size_t count = 0;
  ivg::call(ivg_sequence_logits, sequence.get(), &logits, &count);
  CHECK(count == 320 && std::isfinite(logits[319]));
  CHECK(thrown_by([&] { ivg::call(ivg_sequence_truncate, sequence.get(), std::size_t{99}); }) ==
        IVG_ERROR_INVALID_ARGUMENT);
  ivg::file file(ivg::create<ivg_file>(ivg_file_open, fixture("tiny-llama.gguf").c_str()));
  CHECK(ivg_file_tensor_count(file.get()) > 0);
}

}  // namespace

int main(int count, char **arguments) {
  if (count != 2) return std::cerr << "usage: test_hpp FIXTURES\n", 2;
  fixtures = arguments[1];
  bool any = false;
  const auto test = [&](const char *name, const auto &body) {
    failed = false;
    try {
      body();
    } catch (const std::exception &problem) {
      failed = true;
      std::cout << "     " << problem.what() << '\n';
    }
    std::cout << (failed ? "FAIL " : "ok   ") << name << std::endl;
    any = any || failed;
  };
  const ivg::model model(fixture("tiny-llama.gguf"));
#define TEST(name) test(#name, [&] { name(model); })
  TEST(owners_move_and_release);
  TEST(owners_go_in_any_order);
  TEST(an_empty_guidance_is_no_unguided_text);
  TEST(errors_have_status_and_message);
  TEST(a_range_is_the_text);
  TEST(a_loop_may_be_left);
  TEST(cancel_comes_from_another_thread);
  TEST(exceptions_leave_callbacks);
  TEST(sessions_share_a_model);
  TEST(texts_and_tokens);
  TEST(what_has_no_class_is_called);
  return any;
}
