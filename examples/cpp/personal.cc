// SPDX-License-Identifier: Apache-2.0
//
// Introduces usage of adapters for many users: one model, mapped once, a small adapter for each of two users, and one
// session in which both are served together. At each step the next token of every user is computed in one pass over the
// weights, so that two users cost little more than one.
//
//     c++ -std=c++17 personal.cc -o personal $(pkg-config --cflags --libs ivg)
//     ./personal model.gguf ada.gguf ben.gguf "The film was"
#include <ivg.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <list>
#include <string>
#include <vector>

namespace {

/// A user's own: an adapter of the common model, the tokens so far, and what the model has read of them.
struct user {
  user(const ivg::model &model, const ivg::session &session, const std::string &path, std::vector<std::int32_t> prompt)
      : adapter(model, path),
        sequence(ivg::create<ivg_sequence>(ivg_sequence_create, session.get(), adapter.get())),
        unread(std::move(prompt)) {}

  /// The most probable next token; the host's own sampler would stand here.
  std::int32_t choose() const {
    const float *logits = nullptr;
    std::size_t count = 0;
    ivg::call(ivg_sequence_logits, sequence.get(), &logits, &count);
    return static_cast<std::int32_t>(std::max_element(logits, logits + count) - logits);
  }

  ivg::adapter adapter;
  ivg::sequence sequence;
  std::vector<std::int32_t> unread;  // the prompt, then the token that was chosen last
  std::vector<std::int32_t> answer;
  bool has_ended = false;
};

/// One step for everybody who has not ended. Returns whether there was one.
bool advance(const ivg::model &model, std::list<user> &users) {
  std::vector<ivg_sequence_extension> batch;
  for (const user &it : users)
    if (!it.has_ended) batch.push_back({it.sequence.get(), it.unread.data(), it.unread.size()});
  if (batch.empty()) return false;
  ivg::call(ivg_sequence_evaluate_batch, batch.data(), batch.size());
  for (user &it : users) {
    if (it.has_ended) continue;
    it.unread = {it.choose()};
    it.has_ended = ivg_model_token_ends(model.get(), it.unread[0]) != 0;
    if (!it.has_ended) it.answer.push_back(it.unread[0]);
  }
  return true;
}

}  // namespace

int main(int count, char **arguments) try {
  if (count != 5) {
    std::cerr << "usage: " << arguments[0] << " MODEL ADAPTER ADAPTER PROMPT\n";
    return 2;
  }
  const ivg::model model(arguments[1]);
  const std::string prompt = arguments[4];
  ivg::session_options options;
  options.context_length = 256;
  options.timings = 1;
  const ivg::session session(model, options);

  std::list<user> users;
  for (const char *path : {arguments[2], arguments[3]})
    users.emplace_back(model, session, path, model.tokenize(prompt, IVG_TOKENIZE_SPECIAL | IVG_TOKENIZE_BEGIN));
  const auto start = std::chrono::steady_clock::now();
  for (int step = 0; step < 32 && advance(model, users); step++) {}
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;

  std::size_t tokens = 0;
  for (const user &it : users) {
    std::cout << prompt << model.detokenize(it.answer, IVG_DETOKENIZE_CONTINUES) << "\n\n";
    tokens += it.answer.size();
  }
  ivg::timings timings;
  ivg::call(ivg_session_timings, session.get(), &timings);
  std::cout << tokens << " tokens for " << users.size() << " users in " << timings.pass_count << " passes, "
            << static_cast<double>(tokens) / seconds.count() << " a second\n";
} catch (const std::exception &problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
