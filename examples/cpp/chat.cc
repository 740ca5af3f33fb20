// SPDX-License-Identifier: Apache-2.0
//
// Introduces usage of conversations: answers messages from standard input, a line each, with the model's own chat
// template, and streams the answers. What one turn has computed is reused by the next.
//
//     c++ -std=c++17 chat.cc -o chat $(pkg-config --cflags --libs ivg)
//     echo "What is the capital of France?" | ./chat model.gguf
#include <ivg.hpp>

#include <iostream>
#include <string>
#include <vector>

int main(int count, char **arguments) try {
  if (count != 2) {
    std::cerr << "usage: " << arguments[0] << " MODEL < MESSAGES\n";
    return 2;
  }
  const ivg::model model(arguments[1]);
  ivg::session session(model);
  ivg::generate_options options;
  options.max_tokens = 60;
  options.temperature = IVG_GREEDY;

  std::vector<ivg::chat_message> conversation = {{"system", "You are a helpful assistant."}};
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    std::cout << "> " << line << '\n';
    conversation.push_back({"user", line});
    for (const ivg::step &step : session.generate(model.render_chat(conversation), options))
      std::cout << step.view() << std::flush;
    std::cout << '\n';
    conversation.push_back({"assistant", std::string(session.candidate().view())});
  }
  if (std::cin.bad()) throw std::runtime_error("standard input cannot be read");
} catch (const std::exception &problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
