// SPDX-License-Identifier: Apache-2.0
//
// Introduces usage of libivg from C++: opens a model and streams a continuation of a prompt.
//
//     c++ -std=c++17 generate.cc -o generate $(pkg-config --cflags --libs ivg)
//     ./generate model.gguf "Once upon a time"
#include <ivg.hpp>

#include <iostream>
#include <string>

int main(int count, char **arguments) try {
  if (count != 3) {
    std::cerr << "usage: " << arguments[0] << " MODEL PROMPT\n";
    return 2;
  }
  const std::string prompt = arguments[2];
  const ivg::model model(arguments[1]);
  ivg::session session(model);

  ivg::generate_options options;  // all else at its default
  options.max_tokens = 64;
  options.seed = 1;

  ivg::steps steps = session.generate(prompt, options);
  std::cout << prompt;
  for (const ivg::step &step : steps) std::cout << step.view() << std::flush;
  std::cout << '\n';
} catch (const std::exception &problem) {  // an ivg::error, which also has a status()
  std::cerr << problem.what() << '\n';
  return 1;
}
