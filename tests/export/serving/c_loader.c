/* Runs a signature of a SavedModel with TensorFlow's C library, as TensorFlow Serving's loader does; no Python.

   c_loader DIRECTORY INPUT PROBABILITIES STATUS < requests > answers

   INPUT, PROBABILITIES and STATUS are the signature's tensors, as "operation:index". A request on standard input is a
   count, then for each payload its length and its bytes; an answer is the count, the number of classes, the
   probabilities as float32 and the statuses as int32. All numbers are little-endian of 32 bits. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static void require(int fine, const char *what) {
  if (!fine) {
    fprintf(stderr, "%s\n", what);
    exit(1);
  }
}

static void check(const TF_Status *status) { require(TF_GetCode(status) == TF_OK, TF_Message(status)); }

static TF_Output find(TF_Graph *graph, const char *name) {
  char operation[512];
  const char *colon = strrchr(name, ':');
  require(colon != NULL && (size_t)(colon - name) < sizeof operation, "not of the form operation:index");
  memcpy(operation, name, colon - name);
  operation[colon - name] = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  require(output.oper != NULL, "no such operation");
  return output;
}

static int read_number(uint32_t *number) { return fread(number, sizeof *number, 1, stdin) == 1; }

static TF_Tensor *read_payloads(uint32_t count) {
  int64_t shape[1] = {count};
  TF_Tensor *tensor = TF_AllocateTensor(TF_STRING, shape, 1, count * sizeof(TF_TString));
  TF_TString *strings = TF_TensorData(tensor);
  for (uint32_t k = 0; k < count; k++) {
    uint32_t length;
    require(read_number(&length), "a request ended early");
    char *bytes = malloc(length + 1);
    require(bytes != NULL && fread(bytes, 1, length, stdin) == length, "a payload ended early");
    TF_StringInit(&strings[k]);
    TF_StringCopy(&strings[k], bytes, length);
    free(bytes);
  }
  return tensor;
}

int main(int argc, char **argv) {
  require(argc == 5, "usage: c_loader DIRECTORY INPUT PROBABILITIES STATUS");
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);
  TF_Output input = find(graph, argv[2]);
  TF_Output wanted[2] = {find(graph, argv[3]), find(graph, argv[4])};
  uint32_t count;
  while (read_number(&count)) {
    TF_Tensor *payloads = read_payloads(count), *found[2];
    TF_SessionRun(session, NULL, &input, &payloads, 1, wanted, found, 2, NULL, 0, NULL, status);
    check(status);
    uint32_t classes = (uint32_t)TF_Dim(found[0], 1);
    require(TF_Dim(found[0], 0) == count && TF_Dim(found[1], 0) == count, "an answer of another size");
    fwrite(&count, sizeof count, 1, stdout);
    fwrite(&classes, sizeof classes, 1, stdout);
    fwrite(TF_TensorData(found[0]), sizeof(float), (size_t)count * classes, stdout);
    fwrite(TF_TensorData(found[1]), sizeof(int32_t), count, stdout);
    TF_DeleteTensor(payloads);
    TF_DeleteTensor(found[0]);
    TF_DeleteTensor(found[1]);
  }
  TF_CloseSession(session, status);
  check(status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
