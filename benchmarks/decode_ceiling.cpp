// What one core can do with DICOM JSON: the wanted attributes of each page into columns of memory.
//
//     c++ -O3 -march=native decode_ceiling.cpp -lsimdjson -o decode_ceiling
//     ./decode_ceiling ROUNDS TAG:KIND,TAG:KIND,... PAGE.json...
//
// The kinds are text, name, integer and number; the tags and those of the datasets are in ascending
// order. It prints the CPU seconds of each round, and to stderr the number of rows. Nothing is
// checked beyond the JSON, dates stay text, and no other program gets the columns: no decoder that
// does those things is as fast.

#include <simdjson.h>

#include <cstdlib>
#include <ctime>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace simdjson;

enum class Kind { text, name, integer, number };

struct Column {
  std::string tag;
  Kind kind;
  std::vector<int32_t> ends;
  std::string data;
  std::vector<int64_t> integers;
  std::vector<double> numbers;
  std::vector<uint8_t> valid;
};

static std::vector<Column> columns_of(const std::string &wanted) {
  std::vector<Column> columns;
  std::stringstream list(wanted);
  for (std::string one; std::getline(list, one, ',');) {
    const std::string kind = one.substr(one.find(':') + 1);
    columns.push_back({one.substr(0, one.find(':')),
                       kind == "text"      ? Kind::text
                       : kind == "name"    ? Kind::name
                       : kind == "integer" ? Kind::integer
                                           : Kind::number,
                       {}, {}, {}, {}, {}});
  }
  return columns;
}

static void finish(Column &column, bool found) {
  column.valid.push_back(found);
  column.ends.push_back(static_cast<int32_t>(column.data.size()));
}

static void read(Column &column, ondemand::value element) {
  bool found = false;
  auto values = element.get_object().find_field("Value");
  if (!values.error()) {
    for (auto value : values.get_array()) {
      switch (column.kind) {
      case Kind::text:
        column.data.append(std::string_view(value.get_string()));
        break;
      case Kind::name:
        column.data.append(
            std::string_view(value.get_object().find_field("Alphabetic").get_string()));
        break;
      case Kind::integer:
        column.integers.push_back(value.get_int64());
        break;
      case Kind::number:
        column.numbers.push_back(value.get_double());
        break;
      }
      found = true;
    }
  }
  finish(column, found);
}

static size_t read_page(ondemand::parser &parser, const padded_string &page,
                        std::vector<Column> &columns) {
  size_t rows = 0;
  ondemand::document document = parser.iterate(page);
  for (ondemand::object dataset : document.get_array()) {
    size_t next = 0;
    for (auto field : dataset) {
      const std::string_view tag = field.unescaped_key();
      while (next < columns.size() && columns[next].tag < tag) finish(columns[next++], false);
      if (next == columns.size()) break;
      if (columns[next].tag == tag) read(columns[next++], field.value());
    }
    while (next < columns.size()) finish(columns[next++], false);
    ++rows;
  }
  return rows;
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  const int rounds = std::atoi(arguments[1]);
  std::vector<padded_string> pages;
  for (int i = 3; i < count; ++i) pages.push_back(padded_string::load(arguments[i]));
  ondemand::parser parser;
  for (int round = 0; round < rounds; ++round) {
    const std::clock_t start = std::clock();
    size_t rows = 0;
    for (const auto &page : pages) {
      auto columns = columns_of(arguments[2]);
      rows += read_page(parser, page, columns);
    }
    std::cout << static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC << "\n";
    if (round == 0) std::cerr << rows << "\n";
  }
}
