// SPDX-License-Identifier: Apache-2.0
// Introduces usage of libivg from C++: handles in std::unique_ptr, errors as exceptions, a streamed
// continuation.
//
//     c++ -std=c++17 generate.cc -o generate -livg
//     ./generate model.gguf "Once upon a time"
#include <ivg.h>

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace {

template <typename Handle, auto Free>
using Owned = std::unique_ptr<Handle, std::integral_constant<decltype(Free), Free>>;
using Error = Owned<ivg_error, ivg_error_free>;
using Model = Owned<ivg_model, ivg_model_free>;
using Session = Owned<ivg_session, ivg_session_free>;

/// Makes an exception of an error; passes IVG_OK and IVG_DONE on. Takes the error by reference: the call that
/// sets it is an argument too, and may be evaluated second.
ivg_status checked(ivg_status status, ivg_error *const &raw) {
  const Error error(raw);
  if (status < 0) throw std::runtime_error(ivg_error_message(raw));
  return status;
}

void run(const char *path, std::string_view prompt) {
  ivg_error *error = nullptr;
  ivg_model *opened = nullptr;
  checked(ivg_model_open(&opened, path, nullptr, &error), error);
  const Model model(opened);
  ivg_session *created = nullptr;
  checked(ivg_session_create(&created, model.get(), nullptr, &error), error);
  const Session session(created);

  ivg_generate_options options;
  ivg_generate_options_init(&options, sizeof options);
  options.max_tokens = 64;
  checked(ivg_session_begin(session.get(), prompt.data(), prompt.size(), &options, nullptr, &error), error);
  ivg_step step{};
  step.struct_size = sizeof step;
  std::cout << prompt;
  while (checked(ivg_session_next(session.get(), &step, &error), error) == IVG_OK)
    std::cout << std::string_view(step.text, step.text_length) << std::flush;
  std::cout << '\n';
}

}  // namespace

int main(int count, char **arguments) try {
  if (count != 3) throw std::runtime_error("usage: generate MODEL PROMPT");
  run(arguments[1], arguments[2]);
} catch (const std::exception &problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
