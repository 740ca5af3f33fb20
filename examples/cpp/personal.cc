// SPDX-License-Identifier: Apache-2.0
//
// Introduces usage of adapters for many users: one model, mapped once, and a small adapter for each of two users. Each has a
// session of his own, on his own thread; the sessions share the model's pages and nothing else. The adapter steers as an
// implicit value whose untuned side is the base's own row: weight 1 is the adapted model, less keeps nearer to the base.
//
// What is computed together: the base's row and the adapted row of one user, in one reading of the weights. Two users'
// requests are not: each session reads the weights for itself.
//
//     c++ -std=c++17 personal.cc -o personal -pthread $(pkg-config --cflags --libs ivg)
//     ./personal model.gguf ada.gguf ben.gguf "The film was"
#include <ivg.hpp>

#include <future>
#include <iomanip>
#include <iostream>
#include <string>

namespace {

/// What a user gets, and what it took.
struct answer {
  std::string text;
  ivg::result result;
};

/// A user's own: an adapter of the common model, and the session in which it is used.
class user {
 public:
  user(const ivg::model &model, const std::string &path) : session_(model, limits()) {
    const ivg::adapter adapter(model, path);
    ivg::implicit_options value;
    value.tuned_adapter = adapter.get();  // kept alive by the guidance
    guidance_.add(value, 1);
  }

  answer ask(const std::string &prompt) {
    ivg::generate_options options;
    options.max_tokens = 32;
    options.seed = 1;
    answer given;
    for (const ivg::step &step : session_.generate(prompt, options, guidance_)) given.text += step.view();
    given.result = session_.result();
    return given;
  }

 private:
  static ivg::session_options limits() {
    ivg::session_options options;
    options.thread_count = 1;  // as many threads as users
    options.context_length = 256;
    return options;
  }

  ivg::guidance guidance_;
  ivg::session session_;
};

}  // namespace

int main(int count, char **arguments) try {
  if (count != 5) {
    std::cerr << "usage: " << arguments[0] << " MODEL ADAPTER ADAPTER PROMPT\n";
    return 2;
  }
  const ivg::model model(arguments[1]);
  const std::string prompt = arguments[4];
  user first(model, arguments[2]), second(model, arguments[3]);

  // An exception of a thread comes out of get().
  std::future<answer> other = std::async(std::launch::async, [&] { return second.ask(prompt); });
  const answer answers[] = {first.ask(prompt), other.get()};

  const double mebibyte = 1024 * 1024;
  std::cout << std::fixed << std::setprecision(1);
  for (const answer &it : answers) std::cout << prompt << it.text << "\n\n";
  for (const answer &it : answers)
    std::cout << static_cast<double>(it.result.memory_used) / mebibyte << " MiB of this user's own, "
              << static_cast<double>(it.result.token_count) / (it.result.prompt_seconds + it.result.generate_seconds)
              << " tokens/s\n";
  std::cout << static_cast<double>(model.information().file_size) / mebibyte << " MiB of the model, mapped once\n";
} catch (const std::exception &problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
